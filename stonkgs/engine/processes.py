"""How this process stands among others that work on the same folder: Lightning's, torchrun's, SLURM's, or one's own.

They need nothing of each other. A wrong share would cost doubled work, never a row: see `stonkgs.source.split.turns`.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from stonkgs.engine import settings
from stonkgs.engine.interrupt import Interrupted
from stonkgs.errors import UserError

#: SLURM, Lightning and torchrun each know how many processes there are; with `splits` each stands by itself.
_ALONE = {"_target_": "pytorch_lightning.plugins.environments.LightningEnvironment"}


@dataclass(frozen=True, slots=True)
class Standing:
    """This command among those that share a folder, each of which may have processes of Lightning's."""

    #: its number, and how many there are
    index: int
    of: int
    #: whether Lightning has started this process from another one, which has begun the run
    child: bool
    #: whether something else has started it, with others: none of them may start anew what the others have begun
    together: bool
    #: processes that were started with it on this machine, and its number among them
    local: int
    local_rank: int


def standing(splits: str | None, environ: Mapping[str, str] = os.environ) -> Standing:
    """Where this process stands, by `splits` and by what torchrun and SLURM leave in the environment.

    Raises UserError where `splits` is no share, or "auto" and nothing tells.
    """
    number = _numbers(environ)
    torchrun = "RANK" in number and "WORLD_SIZE" in number
    local_rank = number.get("LOCAL_RANK", number.get("SLURM_LOCALID", 0))
    index, of = (0, 1) if splits is None else _auto(number) if splits == "auto" else _share(str(splits))
    return Standing(
        index=index,
        of=of,
        child=not torchrun and number.get("LOCAL_RANK", 0) > 0,
        together=of > 1 or (torchrun and number["WORLD_SIZE"] > 1),
        local=number.get("LOCAL_WORLD_SIZE", 1),
        local_rank=local_rank,
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """What a configuration builds, and where it runs: what every run has, and decides by it."""

    stands: Standing
    trainer: pl.Trainer

    @property
    def device(self) -> str:
        """The kind of device."""
        return "cpu" if isinstance(self.trainer.accelerator, CPUAccelerator) else "gpu"

    def threads(self, cfg: DictConfig) -> int | None:
        """Of the model on a CPU: every core that this process may use, shared with those that were started with it."""
        share = settings.cores() // max(self.stands.local, self.trainer.num_devices)
        return (cfg.threads or max(1, share)) if self.device == "cpu" else None

    def workers(self, cfg: DictConfig) -> int:
        """On a CPU the network takes every core; beside a GPU the cores are free to read and encode."""
        if cfg.num_workers is not None:
            return int(cfg.num_workers)
        return 0 if self.device == "cpu" else max(1, min(8, settings.cores() - 1))

    def check(self, *, overwrite: bool) -> None:
        """UserError where this process would destroy what others have begun, or a sweep's job has several devices."""
        if overwrite and (self.stands.together or self.trainer.num_nodes > 1):
            raise UserError(
                "overwrite=true: this is one process of several, and would destroy what the others have begun; remove "
                "the earlier result, or choose another output_dir="
            )
        if _sweeping() and self.trainer.world_size > 1:
            raise UserError(
                "--multirun runs each job on one device: trainer.devices=1, or start a command for each job"
            )

    @contextmanager
    def ending_others(self, advice: Callable[[], str]) -> Iterator[None]:
        """Where this fails, end the processes that Lightning has started; `advice` is for who has interrupted it."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, Interrupted):
                error.advice = "" if self.stands.child else advice()
            reap(self.trainer.strategy.launcher, kill=signal.SIGTERM)
            raise


def trainer_config(config: DictConfig, splits: str | None, stands: Standing) -> DictConfig:
    """The trainer's configuration with what is known from who has started this process.

    torchrun says how many processes there are, so that nobody has to say it twice. With `splits` there is no process
    group, and each of several processes of a machine takes its own GPU, if it sees more than one. In a SLURM job of one
    task it is Lightning that starts the others.
    """
    given: dict[str, Any] = {}
    number = _numbers(os.environ)
    one = config.get("devices") == 1
    if splits is not None:
        given["plugins"] = [*(config.get("plugins") or []), _ALONE]
        gpus = torch.cuda.device_count()
        if one and gpus > 1 and config.get("accelerator") in ("auto", "gpu", "cuda"):
            given["devices"] = [stands.local_rank % gpus]
    elif one and "RANK" in number and number.get("WORLD_SIZE", 1) > 1:
        given = {"devices": stands.local, "num_nodes": number["WORLD_SIZE"] // stands.local}
    elif number.get("SLURM_NTASKS") == 1:
        given["plugins"] = [*(config.get("plugins") or []), _ALONE]
    return OmegaConf.create(OmegaConf.to_container(config, resolve=True) | given)  # type: ignore[operator]


def _sweeping() -> bool:
    """Whether this is a job of --multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def reap(launcher: Any, *, kill: int | None = None) -> int:
    """Wait for the processes that Lightning has started, or end them; how many have failed."""
    processes: list[subprocess.Popen[bytes]] = getattr(launcher, "procs", [])
    for process in processes:
        if kill is not None:
            process.send_signal(kill)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
    return sum(process.wait() != 0 for process in processes)


def _share(splits: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", splits)
    if not found or int(found[1]) >= int(found[2]):
        raise UserError(f"splits={splits}: is i/n, this process among n, counted from 0 (splits=0/4 to 3/4), or auto")
    return int(found[1]), int(found[2])


def _auto(number: Mapping[str, int]) -> tuple[int, int]:
    """The array's task, and within it the step's or torchrun's process. Which number is whose is but a hint."""
    index, of = 0, 1
    found = False
    if (count := number.get("SLURM_ARRAY_TASK_COUNT")) and "SLURM_ARRAY_TASK_ID" in number:
        first, step = number.get("SLURM_ARRAY_TASK_MIN", 0), number.get("SLURM_ARRAY_TASK_STEP", 1)
        index, of = (number["SLURM_ARRAY_TASK_ID"] - first) // max(step, 1) % count, count
        found = True
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in number and number.get(world, 0) > 0:
            return index * number[world] + number[rank] % number[world], of * number[world]
    if not found:
        raise UserError(
            "splits=auto: neither SLURM nor torchrun has started this process; say splits=i/n, for example splits=0/4"
        )
    return index, of


def _numbers(environ: Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in environ.items() if re.fullmatch(r"\d{1,9}", value)}
