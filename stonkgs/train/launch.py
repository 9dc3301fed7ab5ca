"""Trains on several devices: by processes that Lightning, torchrun or SLURM starts, in one process group.

The processes of a prediction (`stonkgs.engine`) are independent of each other; these share every step.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stonkgs.engine.devices import IGNORE_LAUNCHER
from stonkgs.engine.interrupt import advising
from stonkgs.engine.share import check_overwrite, numbers
from stonkgs.errors import UserError


@dataclass(frozen=True, slots=True)
class Launch:
    """How this process was started, and with how many others."""

    #: whether Lightning has started it from the process that has begun the training
    child: bool
    #: processes that torchrun has started in all
    world: int
    #: processes that torchrun has started on this machine
    local: int

    def trainer_config(self, config: DictConfig) -> DictConfig:
        """Returns the trainer's configuration, with torchrun's numbers of devices and machines if it has none."""
        given: dict[str, Any] = {}
        if config.get("devices") == 1 and self.world > 1:
            given = {"devices": self.local, "num_nodes": self.world // self.local}
        elif numbers(os.environ).get("SLURM_NTASKS") == 1:
            # Then Lightning starts the other processes itself.
            given["plugins"] = [*(config.get("plugins") or []), IGNORE_LAUNCHER]
        return OmegaConf.create(OmegaConf.to_container(config, resolve=True) | given)  # type: ignore[operator]

    def check(self, trainer: pl.Trainer, *, overwrite: bool) -> None:
        """Raises UserError if this process would destroy what others have begun, or a sweep has several devices."""
        check_overwrite(overwrite, alone=self.world == 1 and trainer.num_nodes == 1)
        sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        if sweeping and trainer.world_size > 1:
            raise UserError(
                "--multirun trains each job on one device: trainer.devices=1, or start a command for each job"
            )

    @contextmanager
    def ending_others(self, trainer: pl.Trainer, advice: str) -> Iterator[None]:
        """End the processes that Lightning has started if the block fails. After Ctrl-C `advice` is shown."""
        try:
            with advising(lambda: "" if self.child else advice):
                yield
        except BaseException:
            reap(trainer.strategy.launcher, kill=signal.SIGTERM)
            raise


def launch(environ: Mapping[str, str] = os.environ) -> Launch:
    """Find out from the environment how torchrun or Lightning has started this process."""
    number = numbers(environ)
    torchrun = "RANK" in number and "WORLD_SIZE" in number
    return Launch(
        child=not torchrun and number.get("LOCAL_RANK", 0) > 0,
        world=number["WORLD_SIZE"] if torchrun else 1,
        local=max(number.get("LOCAL_WORLD_SIZE", 1), 1),
    )


def reap(launcher: Any, *, kill: int | None = None) -> int:
    """Wait for the processes that Lightning has started, or end them by the signal `kill`.

    Returns how many have failed.
    """
    processes: list[subprocess.Popen[bytes]] = getattr(launcher, "procs", [])
    for process in processes:
        if kill is not None:
            process.send_signal(kill)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
    return sum(process.wait() != 0 for process in processes)
