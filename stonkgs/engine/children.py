"""The processes that a command starts to do the other shares of its run: started, counted, and ended."""

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
    """Processes that each work on the folder by themselves: nobody waits for them, and their work is helped with."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], order: Mapping[str, Any]) -> None:
        """Start a process that reads its order as JSON, and finds the modules that this one finds.

        It never sees the terminal's Ctrl-C, a signal that is blocked from its first instruction on: this process tells
        it to end.
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
        with suppress(BrokenPipeError), process.stdin:  # one that has died already is counted by `failed`
            process.stdin.write(json.dumps(order, default=str).encode())

    def failed(self) -> int:
        """How many have died by now, or have ended in an error."""
        return sum(process.poll() not in (None, 0) for process in self.processes)

    def stop(self) -> None:
        """End those that still run: by SIGTERM; by SIGKILL where that takes too long, or a signal comes meanwhile."""
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.terminate()
        try:
            interrupt.wait_no_more()
            for process in running:
                process.wait(GRACE)
        except (Interrupted, subprocess.TimeoutExpired):
            pass  # they are killed now
        finally:
            for process in self.processes:
                process.kill()
                process.wait()


def orders(cfg: DictConfig, share: Share, devices: Sequence[Any]) -> list[dict[str, Any]]:
    """What the processes are told that use all devices but the first: the configuration, and their part of `share`.

    The command itself has begun the run by then, so that they join it.
    """
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    told = []
    for number in range(1, len(devices)):
        trainer = config["trainer"] | {"devices": devices[number]}
        part = asdict(share.part(number, len(devices)))
        told.append({"config": config | {"overwrite": False, "trainer": trainer}, "share": part})
    return told


@contextmanager
def children(command: Sequence[str], orders: Sequence[Mapping[str, Any]]) -> Iterator[Children]:
    """A process for each order, beside what is done here. At the end, or where this fails, all of them are ended."""
    started = Children()
    try:
        for order in orders:
            started.start(command, order)
        yield started
    finally:
        started.stop()
