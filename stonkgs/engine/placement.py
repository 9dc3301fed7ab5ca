"""Says on what hardware a run computes: the kind of device, threads, and workers."""

import os
from dataclasses import dataclass

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.accelerators import CPUAccelerator


@dataclass(frozen=True, slots=True)
class Placement:
    """A trainer, and how many processes of the run share its machine."""

    trainer: pl.Trainer
    processes: int

    @property
    def device(self) -> str:
        """Returns the kind of device, "cpu" or "gpu"."""
        return "cpu" if isinstance(self.trainer.accelerator, CPUAccelerator) else "gpu"

    def threads(self, cfg: DictConfig) -> int | None:
        """Returns the threads of the model on a CPU, by default this process's share of the cores; None on a GPU."""
        return (cfg.threads or max(1, _cores() // self.processes)) if self.device == "cpu" else None

    def workers(self, cfg: DictConfig) -> int:
        """Returns how many processes read and encode, by default none beside a CPU, where the model uses every core."""
        if cfg.num_workers is not None:
            return int(cfg.num_workers)
        return 0 if self.device == "cpu" else max(1, min(8, _cores() - 1))


def _cores() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
