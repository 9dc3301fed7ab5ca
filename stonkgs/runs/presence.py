"""Reports what a process is doing to `stonkgs status`, in a file beside the parts that it writes."""

import json
import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stonkgs.disk import process_name, publish
from stonkgs.errors import UserError

#: Seconds between two reports.
INTERVAL = 2.0


class Presence:
    """Reports which splits this process holds and how many rows it has done. No result depends on it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"_process-{process_name()}.json"
        self.started = time.monotonic()
        self.rows = self.splits = 0
        self._reported = 0.0

    @property
    def seconds(self) -> float:
        """Returns the seconds since this process began to work."""
        return time.monotonic() - self.started

    def report(self, rows: int, *, ended: bool, holds: Iterable[int]) -> None:
        """Counts further rows, and the split that may have `ended` with them; writes the file if it is time to.

        `holds` are the numbers of the splits that are not complete yet.
        """
        self.rows += rows
        self.splits += ended
        if (now := time.monotonic()) - self._reported < INTERVAL:
            return
        self._reported = now
        values = {"host": platform.node(), "pid": os.getpid(), "holds": sorted(holds)}
        values |= {"rows": self.rows, "splits": self.splits, "seconds": self.seconds}
        with suppress(UserError), publish(self.path, lasting=False) as file:
            file.write(json.dumps(values).encode())

    def leave(self) -> None:
        """Removes the file: this process holds no split any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
