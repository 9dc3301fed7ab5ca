"""`stonkgs status DIR`: shows how far a run is, from the files in its folder. Changes nothing.

The sizes of results are compared with what the run has written; with `verify=true` their SHA-256 is, too.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stonkgs.errors import UserError, duration, printable
from stonkgs.runs.account import Account
from stonkgs.runs.finished import read_finished
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.parts import Parts
from stonkgs.runs.plan_file import UnfinishedRun
from stonkgs.runs.summary import RunSummary

#: A process on another machine counts as gone when its last report is this many seconds old.
SILENT = 300.0
#: About so many accounts are read; where there are more, the counts are estimated from these.
SAMPLE = 1_000


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The last report of a process: see `stonkgs.runs.presence`."""

    host: str
    pid: int
    holds: list[int]
    #: rows that this process has done, and the seconds that they took
    rows: int
    seconds: float
    #: seconds since the report
    age: float

    @property
    def alive(self) -> bool:
        """Returns whether the process exists, on this machine; elsewhere, whether it has reported lately."""
        if self.host != platform.node():
            return self.age < SILENT
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it runs as another user
            pass
        return True

    def __str__(self) -> str:
        name = f"{self.host}:{self.pid}"
        rate = f"{self.rows / max(self.seconds, 1e-9):,.1f} rows/s"
        state = rate if self.alive else "gone" if self.host == platform.node() else "silent"
        holds = ", ".join(f"{split:,}" for split in self.holds[:8]) or "none"
        return f"{name}   {state}   holds splits {holds}   reported {duration(self.age)} ago"


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="stonkgs status", description=__doc__, usage="%(prog)s DIR [verify=true]")
    parser.add_argument("folder", metavar="DIR", help="the output_dir of a run")
    options = {"verify=true": True, "verify=false": False}
    rest = [argument for argument in argv if argument.lower() not in options]
    path = Path(parser.parse_args(rest).folder)
    verify = any(options.get(argument.lower(), False) for argument in argv)
    print(status(path, verify=verify))
    if problem := _problem(path, verify=verify):
        raise UserError(f"{problem}. Restore it, or do it again: overwrite=true")
    return 0


def _problem(path: Path, *, verify: bool) -> str:
    """Returns which result is not what a finished run has written; "" where all are, or the run is not finished."""
    folder = RunFolder(path)
    if folder.plan.exists() or (finished := folder.finished()) is None:
        return ""
    return finished.content_problem(path) if verify else finished.size_problem(path)


def status(path: Path, *, verify: bool = False) -> str:
    """Returns a line for each fact about the run in a folder. Raises UserError where there is no run.

    With `verify`, all that a run under way has committed is read, and damaged parts are counted.
    """
    folder = RunFolder(path)
    if run := folder.unfinished():
        try:
            return _under_way(folder, run, verify=verify)
        except FileNotFoundError:  # another process is just finishing it
            time.sleep(1.0)
    try:
        finished = read_finished(folder.record)
    except ValueError as error:
        raise UserError(f"{folder.record}: {error}") from error
    if not finished:
        raise UserError(f"{path}: no run has written here")
    told: dict[str, Any] = {"done_again": finished.done_again, "command": finished.record.identity.command}
    return str(RunSummary(finished.account, path, finished.predictions, **told))


def _under_way(folder: RunFolder, run: UnfinishedRun, *, verify: bool) -> str:
    path = folder.parts(run.id).path
    parts = Parts(path, _extension(path))
    done = parts.listed(len(run.plan))
    count, committed = len(done), int(done.sum())
    total, scale = _sum_accounts(parts, done)
    about = "" if scale == 1 else "about "
    processes = sorted(_processes(parts.path), key=lambda process: (not process.alive, process.host, process.pid))
    rate = sum(process.rows / max(process.seconds, 1e-9) for process in processes if process.alive)
    mean = total.read * scale / committed if committed else 0.0
    left = duration((count - committed) * mean / rate) if rate and mean else "unknown: no split is done yet"
    if not any(process.alive for process in processes):
        left = "unknown: no process works on it; the same command continues"
    rows = [
        ("splits", f"{committed:,} of {count:,} ({committed / max(count, 1):.0%})"),
        ("rows read", f"{about}{round(total.read * scale):,}"),
        ("rejected", f"{about}{round(total.rejected * scale):,}"),
        *([("no row", f"{about}{round(sum(total.without_row.values()) * scale):,}")] if total.records else []),
        ("rate", f"{rate:,.1f} rows/s"),
        ("time left", left),
        ("begun", f"{run.record.started} on {run.record.host}"),
        *([("damaged", _damaged(parts, done))] if verify else []),
        *(("process", str(process)) for process in processes),
    ]
    return "\n".join(f"{name:10} {printable(fact)}" for name, fact in rows)


def _damaged(parts: Parts, done: npt.NDArray[np.bool_]) -> str:
    """Returns how many committed splits are not what was written."""
    count = sum(not parts.is_sound(split) for split in np.flatnonzero(done).tolist())
    return f"{count:,} committed splits, which will be done again" if count else "nothing of what is committed"


def _sum_accounts(parts: Parts, done: npt.NDArray[np.bool_]) -> tuple[Account, float]:
    """Returns the counts of committed splits, or of a sample of them, and the factor from the sample to all."""
    numbers = np.flatnonzero(done)
    read = numbers[:: max(1, len(numbers) // SAMPLE)]
    total = Account()
    for split in read.tolist():
        with suppress(ValueError, KeyError, TypeError), open(parts.account(split), "rb") as file:  # a damaged one
            total.add(json.loads(file.readline()))
    return total, len(numbers) / max(len(read), 1)


def _extension(parts: Path) -> str:
    """Returns the extension of the rows in a folder of parts, which all have the same one."""
    for path in parts.iterdir():
        if path.name[:8].isdigit() and ".tmp-" not in path.name:
            return path.suffix.removeprefix(".")
    return ""


def _processes(parts: Path) -> Iterator[ProcessStatus]:
    for path in parts.glob("_process-*.json"):
        try:
            report: dict[str, Any] = json.loads(path.read_text("utf-8"))
            age = max(0.0, time.time() - path.stat().st_mtime)
            known = {key: report[key] for key in ("host", "pid", "holds", "rows", "seconds")}
            yield ProcessStatus(**known, age=age)
        except (OSError, ValueError, KeyError, TypeError):  # the process has just left
            continue
