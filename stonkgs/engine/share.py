"""Finds the share of a run that this process has, from `splits=` or from the variables of torchrun and SLURM.

A wrong share may cost doubled work, but never loses a row: see `stonkgs.source.split.reading_order`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stonkgs.errors import UserError


@dataclass(frozen=True, slots=True)
class Share:
    """One process among those that work on a folder: it does its own splits, and then helps the others."""

    #: its number from 0, and how many there are
    index: int = 0
    of: int = 1
    #: its number among the processes of this machine, and their count
    local_index: int = 0
    local: int = 1
    #: whether torchrun, srun or a command of ours started it together with others
    launched: bool = False

    @property
    def prints_summary(self) -> bool:
        """Returns whether this process prints the summary; of processes launched together, the first one does."""
        return not self.launched or self.index == 0

    def subshare(self, number: int, of: int) -> "Share":
        """Divides this share among `of` processes, and returns that of process `number`; 0 is this process itself."""
        return Share(
            index=self.index * of + number,
            of=self.of * of,
            local_index=self.local_index * of + number,
            local=self.local * of,
            launched=self.launched or number > 0,
        )


def share_of(splits: str | None, environ: Mapping[str, str] = os.environ) -> Share:
    """Returns the share of this process, from `splits` and the environment variables of torchrun and SLURM.

    Raises UserError where `splits` is not valid, or where it is "auto" and no variable says which share.
    """
    number = numbers(environ)
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
    """Returns the number of this process and the count of all, where torchrun or srun has started several.

    SLURM_NTASKS is also set in a batch script, which runs once; SLURM_STEP_NUM_TASKS comes from srun.
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
    """Returns the number of this process and the count of all, over the tasks of a job array and their processes."""
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


def check_overwrite(overwrite: bool, *, alone: bool) -> None:
    """Raises UserError where `overwrite` would destroy what other processes of the same run have begun."""
    if overwrite and not alone:
        raise UserError(
            "overwrite=true: this is one process of several, and would destroy what the others have begun; remove "
            "the earlier result, or choose another output_dir="
        )


def numbers(environ: Mapping[str, str]) -> dict[str, int]:
    """Returns the environment variables that are whole numbers, as torchrun, SLURM and Lightning set them."""
    return {name: int(value) for name, value in environ.items() if re.fullmatch(r"\d{1,9}", value)}
