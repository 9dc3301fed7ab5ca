"""What a process is doing, for `stonkgs status`: a file beside the parts that it makes."""

import json
import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stonkgs.disk import process_name, publish
from stonkgs.errors import UserError

#: Seconds between two tellings.
EVERY = 2.0


class Presence:
    """Tells from time to time which splits this process holds and how much it has done. Nothing depends on it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"_process-{process_name()}.json"
        self.started = time.monotonic()
        self.rows = self.splits = 0
        self._told = 0.0

    @property
    def seconds(self) -> float:
        """Since this process began to work."""
        return time.monotonic() - self.started

    def tell(self, rows: int, *, ended: bool, holds: Iterable[int]) -> None:
        """So many rows more, with which a split may have ended."""
        self.rows += rows
        self.splits += ended
        if (now := time.monotonic()) - self._told < EVERY:
            return
        self._told = now
        values = {"host": platform.node(), "pid": os.getpid(), "holds": sorted(holds)}
        values |= {"rows": self.rows, "splits": self.splits, "seconds": self.seconds}
        with suppress(UserError), publish(self.path, lasting=False) as file:
            file.write(json.dumps(values).encode())

    def leave(self) -> None:
        """This process holds nothing any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
