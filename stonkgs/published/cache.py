"""The user's cache folder: published files, and the models and the store that are made from them."""

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

#: Seconds that a process waits for another one before it prints that it waits.
PATIENCE: Final = 2.0
#: The end of every message about this folder.
ELSEWHERE: Final = "STONKGS_CACHE= names another folder"


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache. `files/` has the published files, `models/` the model folders; all models share the store `kge.h5`.

    A model or a store that exists under its name is complete. Only one process at a time makes them.
    """

    root: Path

    @classmethod
    def of_user(cls) -> Self:
        """Returns the cache in $STONKGS_CACHE, else in $XDG_CACHE_HOME/stonkgs, else in ~/.cache/stonkgs.

        Raises UserError if there is no home directory.
        """
        named, shared = os.environ.get("STONKGS_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
        try:
            if named:
                return cls(Path(named).expanduser().absolute())
            # A relative $XDG_CACHE_HOME is ignored, as the XDG specification demands.
            return cls((Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "stonkgs")
        except RuntimeError as error:
            raise UserError(f"published models have no place here: {error}; {ELSEWHERE}") from error

    @property
    def files(self) -> Path:
        """The folder of published files. Each `Deposit` has a folder in it."""
        return self.root / "files"

    @property
    def store(self) -> Path:
        """The KGE store."""
        return self.root / "kge.h5"

    @property
    def models(self) -> Path:
        """The folder that contains the model folders."""
        return self.root / "models"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the cache against other processes, waiting for them. Raises UserError if it cannot be written."""
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
            message = f"waiting for another process that fetches or prepares published models in {self.root} ..."
            print(printable(message), file=sys.stderr)
            lock.acquire(timeout=-1)

    def _tidy(self) -> None:
        """Remove unfinished models and stores of killed processes. Fetched files stay, including partial ones."""
        for left in self.root.glob(f"{self.store.name}.tmp-*"):
            left.unlink(missing_ok=True)
        for left in self.models.glob("*.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)
