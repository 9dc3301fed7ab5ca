"""Starts, counts and ends the processes that do the other shares of a command's run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stonkgs.engine import interrupt
from stonkgs.engine.interrupt import Interrupted
from stonkgs.engine.share import Share

#: Seconds that a process has to end after SIGTERM.
GRACE = 60.0


class Children:
    """Child processes that work on the folder by themselves. Nobody waits for them: others do what they leave."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], order: Mapping[str, Any]) -> None:
        """Starts a process that reads its order from stdin as JSON, and imports modules from the same places.

        SIGINT is blocked in it from its first instruction on, so a terminal's Ctrl-C does not reach it: this process
        ends it.
        """
        paths = [entry or str(Path.cwd()) for entry in sys.path]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
            self.processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:  # `failed` counts a process that has died already
            process.stdin.write(json.dumps(order, default=str).encode())

    def failed(self) -> int:
        """Returns how many processes have died or ended in an error by now."""
        return sum(process.poll() not in (None, 0) for process in self.processes)

    def stop(self) -> None:
        """Ends all processes by SIGTERM; by SIGKILL if that takes too long, or if a signal comes meanwhile."""
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.terminate()
        try:
            interrupt.stop_deferring()
            for process in running:
                process.wait(GRACE)
        except (Interrupted, subprocess.TimeoutExpired):
            pass  # they are killed now
        finally:
            for process in self.processes:
                process.kill()
                process.wait()


def orders(command: str, cfg: DictConfig, share: Share, devices: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the orders to the processes for all devices but the first: the command, its configuration, and their
    part of `share`.

    `overwrite` is off in them, because the command itself has begun the run by then.
    """
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    return [
        {
            "command": command,
            "config": config | {"overwrite": False, "trainer": config["trainer"] | {"devices": devices[number]}},
            "share": asdict(share.subshare(number, len(devices))),
        }
        for number in range(1, len(devices))
    ]


@contextmanager
def children(command: Sequence[str], orders: Sequence[Mapping[str, Any]]) -> Iterator[Children]:
    """Starts a process for each order, and ends all of them when the `with` block ends or fails."""
    started = Children()
    try:
        for order in orders:
            started.start(command, order)
        yield started
    finally:
        started.stop()
