"""The folder of the user's that keeps what was fetched, and what was made of it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from stonkgs.disk import make_folder
from stonkgs.errors import UserError, printable

#: Seconds of waiting before it is said that somebody waits.
PATIENCE: Final = 2.0
#: What every message about this folder ends with.
ELSEWHERE: Final = "STONKGS_CACHE= names another folder"


@dataclass(frozen=True, slots=True)
class Cache:
    """`files/` as they were published, `models/` that are folders of ours, and `kge.h5`, the store of all of them.

    Where a model or the store has its name it is whole. They are made by one process at a time.
    """

    root: Path

    @classmethod
    def of_user(cls) -> Self:
        """$STONKGS_CACHE, else stonkgs in $XDG_CACHE_HOME, else in ~/.cache."""
        named, shared = os.environ.get("STONKGS_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
        try:
            if named:
                return cls(Path(named).expanduser().absolute())
            # A relative one is to be ignored, says the specification.
            return cls((Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "stonkgs")
        except RuntimeError as error:
            raise UserError(f"published models have no place here: {error}; {ELSEWHERE}") from error

    @property
    def files(self) -> Path:
        """Of what was published; its places have folders in it."""
        return self.root / "files"

    @property
    def store(self) -> Path:
        """The KGE store."""
        return self.root / "kge.h5"

    @property
    def models(self) -> Path:
        """Of model folders."""
        return self.root / "models"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other processes from making anything here; UserError where the folder cannot be written."""
        try:
            make_folder(self.models)
            lock = FileLock(self.root / ".lock")
            self._acquire(lock)
        except (UserError, OSError) as error:
            raise UserError(f"{self.root}: keeps published models, and cannot be used: {error}; {ELSEWHERE}") from error
        try:
            self._tidy()
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            told = f"waiting for another process that fetches or prepares published models in {self.root} ..."
            print(printable(told), file=sys.stderr)
            lock.acquire(timeout=-1)

    def _tidy(self) -> None:
        """Remove what a process that was killed has left half-made; what it fetched stays, to be gone on with."""
        for left in self.root.glob(f"{self.store.name}.tmp-*"):
            left.unlink(missing_ok=True)
        for left in self.models.glob("*.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)
