"""On what a run computes: its kind of device, its threads, and its workers."""

from dataclasses import dataclass

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.accelerators import CPUAccelerator

from stonkgs.engine import settings


@dataclass(frozen=True, slots=True)
class Placed:
    """A trainer, and how many processes of the run share its machine."""

    trainer: pl.Trainer
    local: int

    @property
    def device(self) -> str:
        """The kind of device."""
        return "cpu" if isinstance(self.trainer.accelerator, CPUAccelerator) else "gpu"

    def threads(self, cfg: DictConfig) -> int | None:
        """Of the model on a CPU: every core that this process may use, shared with the other processes."""
        return (cfg.threads or max(1, settings.cores() // self.local)) if self.device == "cpu" else None

    def workers(self, cfg: DictConfig) -> int:
        """On a CPU the network takes every core; beside a GPU the cores are free to read and encode."""
        if cfg.num_workers is not None:
            return int(cfg.num_workers)
        return 0 if self.device == "cpu" else max(1, min(8, settings.cores() - 1))
