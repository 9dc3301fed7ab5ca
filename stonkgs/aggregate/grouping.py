"""DuckDB, which groups and sorts more rows than memory holds. It touches no file but its own temporary ones.

What it reads comes from our readers and what it gives goes to our writers, as Arrow batches. So no name of a file or a
column is part of a query, and nothing that a hostile file says can have it load or open anything.
"""

import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from math import exp
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa

from stonkgs.aggregate.columns import Layout
from stonkgs.aggregate.evidences import LEAST_LOG, UNIT, Evidences
from stonkgs.errors import UserError

#: Rows of a batch that comes out; each but the last has as many.
ROWS = 1 << 17
_SETTINGS: Final = {
    "threads": 1,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

T = TypeVar("T")


@contextmanager
def connection(output: Path, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory, of so much of it, and beyond that in a folder beside the output, which is then removed.

    It has one thread: it takes turns with the one that reads, and its share of memory is not divided by the cores.
    """
    if not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", memory, re.IGNORECASE):
        raise UserError(f"--memory {memory}: must be a number and a unit, such as 500MB or 4GB")
    folder = output.with_name(f"{output.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir(0o700)
        with _connect(memory, str(folder)) as made:
            made.execute(
                "SET enable_progress_bar = false; SET enable_external_access = false; SET lock_configuration = true"
            )
            yield made
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connect(memory: str, folder: str) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(config={**_SETTINGS, "memory_limit": memory, "temp_directory": folder})
    except duckdb.Error as error:
        raise UserError(f"--memory {memory}: cannot be had; give another size, such as 500MB or 4GB") from error


def interruptible(made: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do what works with DuckDB, so that a signal ends it at once.

    In the main thread DuckDB would take Interrupted for an error of its own, or see it when its query is through.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except BaseException:
            while not future.done():  # once is not enough: a query that is about to begin forgets it
                made.interrupt()
                wait([future], timeout=0.1)
            raise


def grouped(made: duckdb.DuckDBPyConnection, evidences: Evidences) -> Iterator[pa.RecordBatch]:
    """A row a statement, in the keys' order: the keys, its numbers of evidences and of rows; sums over the evidences of
    ln(1 - p) and of p in UNITs and the largest p of each class; what is passed on.

    Where `e` tells evidences apart, the rows of one come to their mean first.
    """
    try:
        made.register("evidences", evidences.reader())
        yield from made.sql(_query(evidences.layout)).to_arrow_reader(ROWS)
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow raises DuckDB's errors as OSError
        if evidences.failure:
            raise evidences.failure from error
        reason = str(error).partition("\n")[0]  # what follows is advice on DuckDB's own settings
        raise UserError(
            f"{evidences.predictions.path}: cannot be grouped ({reason}); give more --memory, or the disk more room"
        ) from error


#: ln(1 - p) in UNITs of an evidence of `n` rows, p being their mean.
_LOG_OF_MEAN: Final = (
    f"CASE n WHEN 1 THEN log{{0}} ELSE "
    f"round(ln(greatest(1 - unit{{0}}::DOUBLE / n / {UNIT!r}, {exp(LEAST_LOG)!r})) * {UNIT!r})::HUGEINT END"
)


def _query(layout: Layout) -> str:
    keys, classes = ", ".join(f"k{n}" for n in range(len(layout.keys))), range(len(layout.labels))
    passed = [f"c{n}" for n in range(len(layout.passed))]
    if layout.pair:
        passed[:2] = ["{'source': c0, 'target': c1}"]
    rows, count, log, unit = "evidences", "count(*)", "log{0}", "unit{0}"
    if layout.evidence:
        sums = [f"sum(log{n}) AS log{n}, sum(unit{n}) AS unit{n}, max(p{n}) AS p{n}" for n in classes]
        least = [f"min({value}) AS least{n}" for n, value in enumerate(passed)]
        rows = f"(SELECT {', '.join([keys, 'count(*) AS n', *sums, *least])} FROM evidences GROUP BY {keys}, e, r)"
        # Few evidences have several rows; to divide takes time.
        count, log, unit = "sum(n)::BIGINT", _LOG_OF_MEAN, "CASE n WHEN 1 THEN unit{0} ELSE unit{0} // n END"
        passed = [f"least{n}" for n in range(len(least))]
    sums = [f"sum({log})::DOUBLE, sum({unit})::DOUBLE, max(p{{0}})".format(n) for n in classes]
    least = [f"min({value})" for value in passed]
    if layout.pair:
        least[0] = f"unnest({least[0]})"
    columns = ", ".join([keys, "count(*)", count, *sums, *least])
    return f"SELECT {columns} FROM {rows} GROUP BY {keys} ORDER BY {keys}"
