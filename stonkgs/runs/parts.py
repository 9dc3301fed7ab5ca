"""The parts of a run, one for each split. A part counts once its files were renamed to their final names."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from stonkgs.disk import process_name
from stonkgs.runs.account import stamp_of_rows
from stonkgs.runs.stamp import Stamp

#: The names of files that parts are joined to.
JOINED: Final = r"(?:predictions|embeddings)\.[\w.]+|rows\.parquet"
#: Files that a run makes in its folder of parts. Readers of data sets skip names that begin with an underscore.
_OURS = re.compile(
    rf"_?\d{{8,}}\.[\w.]+|_plan\.json|_process-[\w-]+\.json|_rejected-\w+|{JOINED}|rejected\.jsonl|run\.json"
)
#: Begins the name of a temporary file of rejected rows, where files without a name cannot be made.
REJECTED_PREFIX: Final = "_rejected-"
#: A file that `stonkgs.disk.publish` has not renamed yet.
_BESIDE = re.compile(r"(.+)\.tmp-[\w-]+")


class Parts:
    """The folder of the parts of one plan; sources ask it, as a `Committed`, which splits are done.

    A split is committed when its account and its rows both have their names; the rows get theirs last. Each question
    looks at the folder, so that every process and worker sees what the others have done.
    """

    def __init__(self, path: Path, extension: str) -> None:
        self.path = path
        self.extension = extension

    def rows(self, split: int) -> Path:
        """Returns the path of a split's predictions."""
        return self.path / f"{split:08d}.{self.extension}"

    def account(self, split: int) -> Path:
        """Returns the path of a split's account and rejected rows."""
        return self.path / f"_{split:08d}.jsonl"

    def is_sound(self, split: int) -> bool:
        """Returns whether a committed split's account and rows are as they were written. Reads both."""
        stamp = stamp_of_rows(self.account(split))
        return stamp is not None and stamp.fits(self.rows(split))

    def set_aside(self, split: int) -> None:
        """Makes a split count no longer, by another name for its rows, which tells that it was damaged."""
        with suppress(FileNotFoundError):  # another process was faster
            self.rows(split).rename(self._damaged(split))

    def was_set_aside(self, split: int) -> bool:
        """Returns whether a split was damaged once, and had to be done again."""
        return self._damaged(split).exists()

    def set_aside_count(self) -> int:
        """Returns how many splits were damaged and done again."""
        return sum(1 for _ in self.path.glob("_*.damaged"))

    def stamp(self, count: int) -> Stamp:
        """Returns the stamp of all rows of `count` splits, by their accounts."""
        stamps = (stamp_of_rows(self.account(split)) for split in range(count))
        return Stamp.of_all(stamp for stamp in stamps if stamp)

    def kept_rows(self) -> list[Path]:
        """Returns the files of rows in order, of whatever extension: what merge=false leaves."""
        return sorted(path for path in self.path.iterdir() if re.fullmatch(r"\d{8,}\.\w+", path.name))

    def _damaged(self, split: int) -> Path:
        return self.path / f"_{split:08d}.damaged"

    @property
    def plan(self) -> Path:
        """Returns the path of the plan that the parts follow."""
        return self.path / "_plan.json"

    def is_of(self, plan_id: str) -> bool:
        """Returns whether the folder was made for this plan: it holds the plan, or nothing complete yet."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        try:
            return bool(json.loads(self.plan.read_text("utf-8"))["id"] == plan_id)
        except FileNotFoundError:
            with suppress(FileNotFoundError):  # another process has just removed the folder
                return all(_BESIDE.fullmatch(path.name) for path in self.path.iterdir())
            return False
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def __contains__(self, split: int) -> bool:
        """Returns whether a split is committed; True where the folder is gone, for then the run is over."""
        done = self.rows(split).exists() and self.account(split).exists()
        return done or not self.path.exists()

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        """Returns which of `count` splits are committed, as bool [count], by one listing of the folder."""
        rows, accounts = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        try:
            for number, kind in self._numbered():
                if number < count:
                    (accounts if kind == "_" else rows)[number] = True
        except FileNotFoundError:
            return np.ones(count, np.bool_)
        return rows & accounts

    def _numbered(self) -> Iterator[tuple[int, str]]:
        """Yields the split's number of each file, with "_" for an account and "" for rows."""
        pattern = re.compile(rf"(_(?=\d+\.jsonl$)|(?=\d+\.{re.escape(self.extension)}$))(\d{{8,}})\.[\w.]+")
        with os.scandir(self.path) as entries:
            for entry in entries:
                if found := pattern.fullmatch(entry.name):
                    yield int(found[2]), found[1]

    def discard(self, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Removes the folder and what a run of ours made in it; other files stay, under the same path.

        The folder is renamed first, so that a process that still works there sees all of it gone at once. If `unless`
        is true then, it is put back: a run may have begun with it a moment before, and cannot begin from now on.
        """
        if unless():
            return
        gone = self.path.with_name(f".gone-{self.path.name}-{process_name()}")
        with suppress(FileNotFoundError):  # another process removes it, too
            self.path.rename(gone)
            if not unless():
                Parts(gone, self.extension).clear()
            if gone.exists():
                gone.rename(self.path)

    def clear(self, *, but: str = "") -> None:
        """Removes the files that a run of ours made, and the folder if it is empty then.

        Rows of parts with the extension `but` stay.
        """
        if self.path.is_symlink():
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.path.iterdir():
                if _is_ours(path.name) and not (but and re.fullmatch(rf"\d+\.{re.escape(but)}", path.name)):
                    path.unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()


def _is_ours(name: str) -> bool:
    """Returns whether a run gives this name to a file of its parts, at the end or while it writes the file."""
    beside = _BESIDE.fullmatch(name)
    return bool(_OURS.fullmatch(beside[1] if beside else name))
