"""`stonkgs status DIR`: how far the run is that writes there, by what lies in its folder. Touches nothing."""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stonkgs.errors import UserError, duration, printable
from stonkgs.runs.account import Account
from stonkgs.runs.finished import read_finished
from stonkgs.runs.folder import Begun, RunFolder
from stonkgs.runs.parts import Parts
from stonkgs.runs.summary import Summary

#: A process that has told nothing for so many seconds does not count for the rate.
SILENT = 300.0
#: Of more splits than twice as many, about so many are looked into.
SAMPLE = 1_000


@dataclass(frozen=True, slots=True)
class Process:
    """What a process has told of itself: see `stonkgs.runs.presence`."""

    host: str
    pid: int
    holds: list[int]
    #: rows of this process, and in how many seconds
    rows: int
    seconds: float
    #: seconds since it told so
    age: float

    @property
    def alive(self) -> bool:
        """Whether it is heard of, or if it is on this machine, there."""
        if self.host != platform.node():
            return self.age < SILENT
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's
            pass
        return True

    def __str__(self) -> str:
        name = f"{self.host}:{self.pid}"
        rate = f"{self.rows / max(self.seconds, 1e-9):,.1f} rows/s"
        state = rate if self.alive else "gone" if self.host == platform.node() else "silent"
        holds = ", ".join(f"{split:,}" for split in self.holds[:8]) or "none"
        return f"{name}   {state}   holds splits {holds}   told {duration(self.age)} ago"


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="stonkgs status", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="the output_dir of a run")
    print(status(Path(parser.parse_args(argv).folder)))
    return 0


def status(path: Path) -> str:
    """How far the run in a folder is, a row a fact. Raises UserError where there is none."""
    folder = RunFolder(path, "")
    if begun := folder.begun():
        try:
            return _under_way(folder, begun)
        except FileNotFoundError:  # it is being finished
            time.sleep(1.0)
    try:
        finished = read_finished(folder.record)
    except ValueError as error:
        raise UserError(f"{folder.record}: {error}") from error
    if not finished:
        raise UserError(f"{path}: no run has written here")
    return str(Summary(finished.account, path, finished.predictions))


def _under_way(folder: RunFolder, begun: Begun) -> str:
    path = folder.parts(begun.id).path
    parts = Parts(path, _extension(path))
    done = parts.listed(len(begun.plan))
    count, there = len(done), int(done.sum())
    total, share = _accounts(parts, done)
    about = "" if share == 1 else "about "
    processes = sorted(_processes(parts.path), key=lambda process: (not process.alive, process.host, process.pid))
    rate = sum(process.rows / max(process.seconds, 1e-9) for process in processes if process.alive)
    mean = total.read * share / there if there else 0.0
    left = duration((count - there) * mean / rate) if rate and mean else "unknown: no split is through"
    if not any(process.alive for process in processes):
        left = "unknown: no process is at it; the same command continues"
    facts = [
        ("splits", f"{there:,} of {count:,} ({there / max(count, 1):.0%})"),
        ("rows read", f"{about}{round(total.read * share):,}"),
        ("rejected", f"{about}{round(total.rejected * share):,}"),
        *([("no row", f"{about}{round(sum(total.without_row.values()) * share):,}")] if total.records else []),
        ("rate", f"{rate:,.1f} rows/s"),
        ("time left", left),
        ("begun", f"{begun.record.started} on {begun.record.host}"),
        *(("process", str(process)) for process in processes),
    ]
    return "\n".join(f"{name:10} {printable(fact)}" for name, fact in facts)


def _accounts(parts: Parts, done: npt.NDArray[np.bool_]) -> tuple[Account, float]:
    """The counts of committed splits, of some of them where they are very many; splits behind each that was read."""
    numbers = np.flatnonzero(done)
    read = numbers[:: max(1, len(numbers) // SAMPLE)]
    total = Account()
    for split in read.tolist():
        with open(parts.account(split), "rb") as file:
            total.add(json.loads(file.readline()))
    return total, len(numbers) / max(len(read), 1)


def _extension(parts: Path) -> str:
    """The parts' own: a run has one writer."""
    for path in parts.iterdir():
        if path.name[:8].isdigit() and ".tmp-" not in path.name:
            return path.suffix.removeprefix(".")
    return ""


def _processes(parts: Path) -> Iterator[Process]:
    for path in parts.glob("_process-*.json"):
        try:
            told: dict[str, Any] = json.loads(path.read_text("utf-8"))
            age = max(0.0, time.time() - path.stat().st_mtime)
            known = {key: told[key] for key in ("host", "pid", "holds", "rows", "seconds")}
            yield Process(**known, age=age)
        except (OSError, ValueError, KeyError, TypeError):  # it has just left
            continue
