"""The parts of a run, one a split: what has been renamed to its name is committed, and nothing else is."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stonkgs.disk import process_name

#: What a run makes in its folder of parts. Readers of a folder as a data set pass over what begins with an underscore.
_OURS = re.compile(r"_?\d{8,}\.[\w.]+|_plan\.json|_process-[\w-]+\.json|predictions\.[\w.]+|rejected\.jsonl|run\.json")
_BESIDE = re.compile(r"(.+)\.tmp-[\w-]+")


class Parts:
    """The folder that parts are written to, of one plan alone: `Committed` for the source that reads its splits.

    A part is committed when its rows and its account both have their names; the rows get theirs last. Nothing is kept
    in memory, so that every process and worker sees what the others have done.
    """

    def __init__(self, path: Path, extension: str) -> None:
        self.path = path
        self.extension = extension

    def rows(self, split: int) -> Path:
        """The predictions of a split."""
        return self.path / f"{split:08d}.{self.extension}"

    def account(self, split: int) -> Path:
        """The account and the rejected rows of a split."""
        return self.path / f"_{split:08d}.jsonl"

    @property
    def plan(self) -> Path:
        """The plan that the parts follow."""
        return self.path / "_plan.json"

    def is_of(self, plan_id: str) -> bool:
        """Whether the folder was made for this plan: it holds it, or nothing yet."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        try:
            return bool(json.loads(self.plan.read_text("utf-8"))["id"] == plan_id)
        except FileNotFoundError:
            return all(_BESIDE.fullmatch(path.name) for path in self.path.iterdir())
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def __contains__(self, split: int) -> bool:
        """Whether a split is committed. All are where the folder is gone: its run was finished, or replaced."""
        done = self.rows(split).exists() and self.account(split).exists()
        return done or not self.path.exists()

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        """Which of `count` splits are committed, by one look at the folder."""
        rows, accounts = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        try:
            for number, kind in self._numbered():
                if number < count:
                    (accounts if kind == "_" else rows)[number] = True
        except FileNotFoundError:
            return np.ones(count, np.bool_)
        return rows & accounts

    def _numbered(self) -> Iterator[tuple[int, str]]:
        pattern = re.compile(rf"(_(?=\d+\.jsonl$)|(?=\d+\.{re.escape(self.extension)}$))(\d{{8,}})\.[\w.]+")
        with os.scandir(self.path) as entries:
            for entry in entries:
                if found := pattern.fullmatch(entry.name):
                    yield int(found[2]), found[1]

    def discard(self) -> None:
        """Remove the folder with what a run of ours has made in it; what else is there stays.

        First it gets another name: who still works there sees it gone at once, and not part by part.
        """
        gone = self.path.with_name(f".gone-{self.path.name}-{process_name()}")
        with suppress(FileNotFoundError):  # somebody else does the same
            self.path.rename(gone)
            Parts(gone, self.extension).clear()
            if gone.exists():
                gone.rename(self.path)

    def clear(self, *, but: str = "") -> None:
        """Remove what a run of ours has made, except rows of parts whose name ends so, and the folder if empty then."""
        if self.path.is_symlink():
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.path.iterdir():
                if is_ours(path.name) and not (but and re.fullmatch(rf"\d+\.{re.escape(but)}", path.name)):
                    path.unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()  # what else is there stays


def is_ours(name: str) -> bool:
    """Whether a file of a folder of parts has a name that a run gives, or one that it was on the way to."""
    beside = _BESIDE.fullmatch(name)
    return bool(_OURS.fullmatch(beside[1] if beside else name))
