"""Which share of a run this process has: by `splits`, by what torchrun and SLURM say, or by who has started it.

Processes that share a folder need nothing of each other but the folder. A wrong share would cost doubled work, never a
row: see `stonkgs.source.split.reading_order`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stonkgs.errors import UserError


@dataclass(frozen=True, slots=True)
class Share:
    """One process among those that work on a folder: it reads its own splits, and then helps the others."""

    #: its number, and how many there are
    index: int = 0
    of: int = 1
    #: its number among the processes of this machine, and how many there are
    local_index: int = 0
    local: int = 1
    #: whether torchrun, srun or a command of ours has started it together with the others
    launched: bool = False

    @property
    def tells(self) -> bool:
        """Whether this process prints the summary. Of those that were launched together, the first one does."""
        return not self.launched or self.index == 0

    def part(self, number: int, of: int) -> "Share":
        """The share of one of the `of` processes that this command becomes; number 0 is the command itself."""
        return Share(
            index=self.index * of + number,
            of=self.of * of,
            local_index=self.local_index * of + number,
            local=self.local * of,
            launched=self.launched or number > 0,
        )


def share_of(splits: str | None, environ: Mapping[str, str] = os.environ) -> Share:
    """The share of this process, by `splits` and by what torchrun and SLURM leave in the environment.

    Raises UserError where `splits` is no share, or where it is "auto" and nothing says which.
    """
    number = _numbers(environ)
    if splits is None:
        launched = _launched(number)
        index, of = launched or (0, 1)
    else:
        launched = None
        index, of = _auto(number) if splits == "auto" else _given(str(splits))
    return Share(
        index=index,
        of=of,
        local_index=number.get("LOCAL_RANK", number.get("SLURM_LOCALID", 0)),
        local=max(number.get("LOCAL_WORLD_SIZE", 1), 1),
        launched=launched is not None,
    )


def _launched(number: Mapping[str, int]) -> tuple[int, int] | None:
    """The number of this process and their count, where torchrun or srun has started several.

    A batch script of SLURM has SLURM_NTASKS too, and runs once: srun alone counts the tasks of its step.
    """
    if number.get("WORLD_SIZE", 1) > 1 and "RANK" in number:
        return number["RANK"] % number["WORLD_SIZE"], number["WORLD_SIZE"]
    rank = number.get("SLURM_PROCID", 0)
    tasks = number.get("SLURM_STEP_NUM_TASKS", number.get("SLURM_NTASKS", 1) if rank else 1)
    return (rank % tasks, tasks) if tasks > 1 else None


def _given(splits: str) -> tuple[int, int]:
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
