"""Commands in forks of a warmed process: whole runs, killed wherever a test likes, a fraction of a second each."""

import copy
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from stonkgs.cli import CONFIG_DIR, main
from stonkgs.errors import UserError
from stonkgs.predict import predict


def fork(arguments: Sequence[str], *, log: Path, before: Callable[[], None] = lambda: None) -> int:
    """Run a command in a fork, one thread, its output in a file; the number of the process."""
    config = composed(arguments)
    gc.freeze()  # else the fork's first collection copies every page that holds an object
    if number := os.fork():
        return number
    status = 99
    try:
        status = _run(config, log, before)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # whatever happens: a fork that goes on would be a second test run
        os._exit(status)


class Command:
    """`stonkgs` with some arguments as a fork of this process: what a whole process does, without 6 s of imports."""

    def __init__(self, arguments: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Starts it, in a session of its own; what it prints goes to two files whose names begin as `log`."""
        self._files = {name: log.with_suffix(f".{name}") for name in ("out", "err")}
        gc.freeze()  # see `fork`
        self.number = os.fork()
        if self.number:
            return
        status = 99
        try:
            os.setsid()
            for number, file in enumerate(self._files.values(), 1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.update(environment or {})
            torch.set_num_threads(1)  # the threads of the parent's pool are not here
            status = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> tuple[int, str, str]:
        """Its exit status, and what it has printed and said."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        return status, self._files["out"].read_text(), self._files["err"].read_text()


def _run(config: DictConfig, log: Path, before: Callable[[], None]) -> int:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    torch.set_num_threads(1)  # the threads of the parent's pool are not here
    try:
        before()
        print(predict(config))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 2
    return 0


def composed(arguments: Sequence[str]) -> DictConfig:
    """What the command line makes of its arguments; most of a small run's time, so what is equal is made once."""
    folder, *rest = sorted(arguments, key=lambda argument: not argument.startswith("output_dir="))
    config = copy.deepcopy(_composed(tuple(rest)))
    config.output_dir = folder.partition("=")[2]
    return config


@cache
def _composed(arguments: tuple[str, ...]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose("predict", list(arguments))


def wait(number: int) -> int:
    """The exit status of a process; minus a signal's number where that has ended it."""
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    assert status in (0, -signal.SIGKILL), f"process {number}: {status}"
    return status


def run(arguments: Sequence[str], log: Path) -> None:
    """A command to its end."""
    assert wait(fork(arguments, log=log)) == 0, log.read_text()
