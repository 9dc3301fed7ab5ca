"""The parts of a run, one for each split. A part counts once its files were renamed to their final names."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stonkgs.disk import process_name

#: Files that a run makes in its folder of parts. Readers of data sets skip names that begin with an underscore.
_OURS = re.compile(r"_?\d{8,}\.[\w.]+|_plan\.json|_process-[\w-]+\.json|predictions\.[\w.]+|rejected\.jsonl|run\.json")
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
            return all(_BESIDE.fullmatch(path.name) for path in self.path.iterdir())
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

    def discard(self) -> None:
        """Removes the folder and what a run of ours made in it; other files stay, under the same path.

        The folder is renamed first, so that a process that still works there sees all of it gone at once.
        """
        gone = self.path.with_name(f".gone-{self.path.name}-{process_name()}")
        with suppress(FileNotFoundError):  # another process removes it, too
            self.path.rename(gone)
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
