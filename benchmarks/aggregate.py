"""`stonkgs aggregate` over more rows than it may hold: rows/s, memory, and what it puts on the disk.

python benchmarks/aggregate.py --rows 5000000 --memory 200MB --against ../before

The predictions are synthetic, with the columns of INDRA statements' rows, in a Parquet file as `stonkgs predict` writes
it. Most statements have an evidence or two and a few have thousands, one behind the other. Each run is the real command
in a process of its own, with the default memory and with `--memory` in turns. All must write the same bytes. With
`--against`, another checkout's command runs in turns with this one's.
"""

import argparse
import filecmp
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from synthetic import node_name

from stonkgs.indra.convert import COLUMNS
from stonkgs.model.answer import PREDICTION
from stonkgs.source.base import ROLES
from stonkgs.writer.base import FLAGS
from stonkgs.writer.parquet import ParquetWriter

LABELS = ("incorrect", "correct")
#: Rows of a part, of which row groups are made.
PART = 1 << 15
MB = 1_000_000
Numbers = npt.NDArray[np.int64]


class Run(NamedTuple):
    """What one run of the command took."""

    seconds: float
    cpu: float
    #: the most bytes in memory and on the disk
    resident: int
    spilled: int


NODES = [node_name(number) for number in range(20_000)]
SENTENCES = [f"Sentence {number}: {'we found that it acts on a cell, ' * 4}" for number in range(1_000)]
TYPES = ["Activation", "Inhibition", "Phosphorylation", "IncreaseAmount", "DecreaseAmount"]
CONTEXTS = [None, None, '{"species":{"name":"Homo sapiens","db_refs":{"TAXONOMY":"9606"}}}']
ADDED = {**dict.fromkeys(LABELS, pa.float32()), PREDICTION: pa.string(), **dict.fromkeys(FLAGS, pa.bool_())}
SCHEMA = pa.schema([*((role, pa.string()) for role in ROLES), *COLUMNS, *ADDED.items()])


def main() -> None:
    """Make the file, run the command in turns, compare what it writes, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--statements", type=int, help="three for ten rows by default")
    parser.add_argument("--memory", default="200MB", help="of the runs that are to use the disk")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout, run in turns with this one")
    arguments = parser.parse_args()
    rows, statements = arguments.rows, arguments.statements or arguments.rows * 3 // 10
    states = [state for state in (arguments.against, Path.cwd()) if state]
    runs: dict[tuple[Path, str], list[Run]] = {
        (state, memory): [] for memory in ("default", arguments.memory) for state in states
    }
    with tempfile.TemporaryDirectory() as name:
        path = write_predictions(Path(name) / "predictions.parquet", rows, statements)
        print(f"{rows:,} rows of {statements:,} statements, {path.stat().st_size / MB:,.0f} MB\n")
        for _ in range(arguments.repeat):
            for (state, memory), found in runs.items():
                found.append(measured(path, state, memory))
                check(path, statements, state.name)
    print_table(rows, runs, states[0])


def print_table(rows: int, runs: Mapping[tuple[Path, str], Sequence[Run]], first: Path) -> None:
    """A line a state and memory. Ratios are of the CPU seconds of the first state with as much memory."""
    titles = [
        "state",
        "memory",
        "s",
        "rows/s",
        "CPU s",
        "of the first",
        "MB in memory at most",
        "MB on the disk at most",
    ]
    print(f"| {' | '.join(titles)} |\n" + len(titles) * "|---" + "|")
    for (state, memory), found in runs.items():
        seconds, cpu, *sizes = zip(*found, strict=True)
        ratio = median(mine / other.cpu for mine, other in zip(cpu, runs[first, memory], strict=True))
        figures = [f"{median(seconds):.1f}", f"{rows / median(seconds):,.0f}", f"{median(cpu):.2f}", f"{ratio:.2f}"]
        print("|", " | ".join([state.name, memory, *figures, *(f"{max(size) / MB:,.0f}" for size in sizes)]), "|")


def write_predictions(path: Path, rows: int, statements: int) -> Path:
    """Predictions at constant memory but for 16 bytes a statement, each of which has one evidence or more."""
    generator = np.random.default_rng(0)
    weights = generator.pareto(1.25, statements).cumsum()
    ends = np.arange(1, statements + 1) + np.rint(weights / weights[-1] * (rows - statements)).astype(np.int64)

    def parts() -> Iterator[Path]:
        part = path.with_name("part")
        for first, last in pairwise([*range(0, rows, PART), rows]):
            numbers = np.arange(first, last)
            table = _predicted(numbers, np.searchsorted(ends, numbers, side="right"), generator)
            with open(part, "wb") as file:
                ParquetWriter().format.write(table, file)
            yield part

    with open(path, "wb") as file:
        ParquetWriter().format.join(parts(), SCHEMA, file)
    return path


def _predicted(rows: Numbers, statements: Numbers, generator: np.random.Generator) -> pa.Table:
    """A table of rows by their numbers and those of their statements."""
    hashes = (statements.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)  # odd: each another
    correct = generator.beta(2, 1, len(rows)).astype(np.float32)
    columns = {
        "source": _taken(NODES, hashes),
        "target": _taken(NODES, hashes // 7),
        "evidence": _taken(SENTENCES, rows),
        "stmt_hash": hashes,
        "belief": statements % 1000 / 1000,
        "stmt_type": _taken(TYPES, statements),
        "source_api": _taken(["reach", "sparser", "medscan", "trips", "biopax"], rows),
        "pmid": pa.array(10_000_000 + rows // 3).cast(pa.string()),
        "source_hash": generator.integers(-(2**63), 2**63 - 1, len(rows)),
        "context": _taken(CONTEXTS, rows),
        "incorrect": 1 - correct,
        "correct": correct,
        PREDICTION: _taken(LABELS, (correct > 0.5).astype(np.int8)),
        **dict.fromkeys(FLAGS, rows % 10 > 0),
    }
    return pa.table(columns, schema=SCHEMA)


def _taken(pool: Sequence[str | None], numbers: npt.NDArray[Any]) -> pa.Array:
    return pa.array(pool).take(pa.array(numbers % len(pool)))


def measured(path: Path, state: Path, memory: str) -> Run:
    """One run of a checkout's command beside its file of predictions, looked at while it runs."""
    command = [sys.executable, "-m", "stonkgs", "aggregate", str(path), "--classes", ",".join(LABELS)]
    command += [] if memory == "default" else ["--memory", memory]
    started, before, resident, spilled = time.perf_counter(), cpu_of_children(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=state) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            with suppress(psutil.NoSuchProcess, FileNotFoundError):  # what ends, or is removed, between two looks
                family = [process, *process.children(recursive=True)]
                resident = max(resident, sum(one.memory_info().rss for one in family))
                spilled = max(spilled, sum(one.stat().st_size for one in path.parent.glob("*.tmp-*/*")))
            time.sleep(0.02)
    assert running.returncode == 0
    return Run(time.perf_counter() - started, cpu_of_children() - before, resident, spilled)


def cpu_of_children() -> float:
    """CPU seconds of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(path: Path, statements: int, state: str) -> None:
    """That a run has written the statements, and the same bytes as the state's run before it."""
    output, before = path.with_name("statements.parquet"), path.with_name(f"before-{state}")
    assert pq.read_metadata(output).num_rows == statements
    assert not before.exists() or filecmp.cmp(output, before, shallow=False)
    output.replace(before)


if __name__ == "__main__":
    main()
