"""DuckDB sorts more rows than memory holds. It touches no file but its own temporary ones.

Rows come from our readers and go to our writers as Arrow batches, and columns have numbers for names. So no name of a
file or a column is part of a query, and nothing that a hostile file says can have DuckDB load or open anything.
"""

import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa

from stonkgs.errors import UserError

#: Rows of a batch; only the last one has fewer.
ROWS = 1 << 15
#: What is proposed at least, where there was too little memory.
LEAST_MEMORY = 32_000_000
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(i?)B", re.IGNORECASE)
_SETTINGS: Final = {
    "threads": 1,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sorter:
    """Sorts within a limit of memory, and beyond it in a folder on the disk."""

    database: duckdb.DuckDBPyConnection
    #: the limit, as the user gave it
    memory: str

    def sorted(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, keys: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows in the order of their first `keys` columns, nulls last, in batches of ROWS.

        The order of rows that agree in all keys is not defined. Raises what `batches` raises, and UserError where the
        memory or the disk is too small.
        """
        failed: list[BaseException] = []  # DuckDB passes on no more than an error's text
        names = [f"c{number}" for number in range(len(schema))]
        schema = pa.schema(zip(names, schema.types, strict=True))
        rows = pa.RecordBatchReader.from_batches(schema, _watched(batches, names, failed))
        try:
            self.database.register("given", rows)
            found = self.database.sql(f"SELECT * FROM given ORDER BY {', '.join(names[:keys])}")
            yield from even(found.to_arrow_reader(ROWS), ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow raises DuckDB's errors as OSError
            if failed:
                raise failed[0] from error
            raise UserError(self._remedy(str(error))) from error

    def _remedy(self, error: str) -> str:
        # DuckDB calls it out of memory, too, where its temporary files would fill the disk.
        if "Out of Memory" in error and "max_temp_directory_size" not in error:
            return f"--memory {self.memory} is too little to sort so many rows; give --memory {_twice(self.memory)}"
        reason = error.partition("\n")[0]  # what follows is advice on DuckDB's own settings
        return f"the rows cannot be sorted ({reason}); give more --memory, or the disk more room"

    def interruptible(self, work: Callable[[], T]) -> T:
        """Do what works with DuckDB, so that a signal ends it at once.

        In the main thread DuckDB would take Interrupted for an error of its own, or see it when its query is through.
        """
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            try:
                return future.result()
            except BaseException:
                while not future.done():  # once is not enough: a query that is about to begin forgets it
                    self.database.interrupt()
                    wait([future], timeout=0.1)
                raise


@contextmanager
def sorter(output: Path, memory: str) -> Iterator[Sorter]:
    """A database in memory, of so much of it, and beyond that in a folder beside the output, which is then removed.

    It has one thread: it takes turns with the one that reads, and its share of memory is not divided by the cores.
    """
    if not _MEMORY.fullmatch(memory):
        raise UserError(f"--memory {memory}: must be a number and a unit, such as 500MB or 4GB")
    folder = output.with_name(f"{output.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir(0o700)
        with _connect(memory, str(folder)) as database:
            database.execute(
                "SET enable_progress_bar = false; SET enable_external_access = false; SET lock_configuration = true"
            )
            yield Sorter(database, memory)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def even(batches: Iterable[pa.RecordBatch | pa.Table], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the same rows in batches of `rows`; the last one may have fewer.

    Sums of floats depend on where a long run of rows is cut: so it is always cut at the same places.
    """
    held: list[pa.Table] = []
    for batch in batches:
        held.append(batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch]))
        if sum(map(len, held)) >= rows:
            table = pa.concat_tables(held)
            whole = len(table) - len(table) % rows
            yield from (_batch(table.slice(start, rows)) for start in range(0, whole, rows))
            held = [table.slice(whole)]
    if sum(map(len, held)):
        yield _batch(pa.concat_tables(held))


def _batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_array(column) for column in table.columns], schema=table.schema)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _watched(
    batches: Iterable[pa.RecordBatch], names: list[str], failed: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """The batches with other names. Notes what has ended the reading."""
    try:
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns, names)
    except BaseException as error:
        failed.append(error)
        raise


def _connect(memory: str, folder: str) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(config={**_SETTINGS, "memory_limit": memory, "temp_directory": folder})
    except duckdb.Error as error:
        raise UserError(f"--memory {memory}: cannot be had; give another size, such as 500MB or 4GB") from error


def _twice(memory: str) -> str:
    found = _MEMORY.fullmatch(memory)
    assert found is not None
    size = float(found[1]) * (1024 if found[3] else 1000) ** (" KMGT".index(found[2].upper()))
    return f"{max(2 * size, LEAST_MEMORY) / 1e6:.0f}MB"
