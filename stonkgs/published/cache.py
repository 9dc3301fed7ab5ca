"""The user's folder for published files, and for the models and the store that are made of them."""

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

#: A process that waits longer than these seconds says so.
PATIENCE: Final = 2.0
#: The end of every message about this folder.
ELSEWHERE: Final = "STONKGS_CACHE= names another folder"


@dataclass(frozen=True, slots=True)
class Cache:
    """`files/` has what was published, `models/` our model folders, and `kge.h5` is the store that all models share.

    A model or a store that has its name is whole. One process at a time makes them.
    """

    root: Path

    @classmethod
    def of_user(cls) -> Self:
        """Return $STONKGS_CACHE, else stonkgs in $XDG_CACHE_HOME, else in ~/.cache."""
        named, shared = os.environ.get("STONKGS_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
        try:
            if named:
                return cls(Path(named).expanduser().absolute())
            # The XDG specification says that a relative path is to be ignored.
            return cls((Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "stonkgs")
        except RuntimeError as error:
            raise UserError(f"published models have no place here: {error}; {ELSEWHERE}") from error

    @property
    def files(self) -> Path:
        """The folder of published files, with a folder for each `Place`."""
        return self.root / "files"

    @property
    def store(self) -> Path:
        """The KGE store."""
        return self.root / "kge.h5"

    @property
    def models(self) -> Path:
        """The folder of model folders."""
        return self.root / "models"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from making anything here. Raises UserError if the folder cannot be written."""
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
        """Remove what a killed process has left half-made. The files that it fetched stay, and so do parts of them."""
        for left in self.root.glob(f"{self.store.name}.tmp-*"):
            left.unlink(missing_ok=True)
        for left in self.models.glob("*.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)
