"""Sorts more rows than memory holds, with DuckDB, which opens no files but its own temporary ones.

Rows pass through DuckDB as Arrow batches whose columns are renamed to numbers. No name of a file or a column becomes
part of a query, so a hostile file cannot make DuckDB load or open anything.
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

from stonkgs.errors import UserError, reason

#: Rows in a sorted batch; only the last batch has fewer.
ROWS = 1 << 15
#: The least memory, in bytes, that a message about too little memory proposes.
MIN_MEMORY = 32_000_000
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
    """Sorts within a limit of memory, and on the disk beyond it."""

    database: duckdb.DuckDBPyConnection
    #: the limit as the user gave it, such as "500MB"
    memory: str

    def sorted(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, keys: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows sorted by their first `keys` columns, nulls last, in batches of ROWS.

        The order of rows with equal keys is undefined. Raises what `batches` raises, and UserError if memory or disk
        are too small.
        """
        errors: list[BaseException] = []  # DuckDB would pass on only an error's text
        names = [f"c{number}" for number in range(len(schema))]
        schema = pa.schema(zip(names, schema.types, strict=True))
        rows = pa.RecordBatchReader.from_batches(schema, _noting_errors(batches, names, errors))
        try:
            self.database.register("unsorted", rows)
            found = self.database.sql(f"SELECT * FROM unsorted ORDER BY {', '.join(names[:keys])}")
            yield from rebatch(found.to_arrow_reader(ROWS), ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow raises DuckDB's errors as OSError
            if errors:
                raise errors[0] from error
            raise UserError(self._remedy(str(error))) from error

    def _remedy(self, error: str) -> str:
        # DuckDB also says "Out of Memory" if its temporary files would fill the disk.
        if "Out of Memory" in error and "max_temp_directory_size" not in error:
            return f"--memory {self.memory} is too little to sort so many rows; give --memory {_doubled(self.memory)}"
        reason = error.partition("\n")[0]  # the other lines are advice on DuckDB's own settings
        return f"the rows cannot be sorted ({reason}); give more --memory, or the disk more room"

    def interruptible(self, work: Callable[[], T]) -> T:
        """Run work that uses DuckDB in a thread, so that a signal ends it at once, and return its result.

        In the main thread, DuckDB would notice a signal only after its query, or report it as its own error.
        """
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            try:
                return future.result()
            except BaseException:
                while not future.done():  # repeated, because a query that is just starting ignores it
                    self.database.interrupt()
                    wait([future], timeout=0.1)
                raise


@contextmanager
def open_sorter(output: Path, memory: str) -> Iterator[Sorter]:
    """Open a Sorter that uses so much memory, and beyond it a temporary folder beside the output. Raises UserError.

    DuckDB gets one thread, because it divides its memory by the number of threads, and takes turns with our reader.
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
        raise UserError(f"{output}: cannot be written: {reason(error, output)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rebatch(batches: Iterable[pa.RecordBatch | pa.Table], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the same rows in batches of exactly `rows`; the last one may have fewer.

    Sums of floats depend on where the rows are cut. With fixed cuts, equal input gives equal sums.
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


def _noting_errors(
    batches: Iterable[pa.RecordBatch], names: list[str], errors: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """Yields the batches with other column names. Adds the error that ends the reading, if any, to `errors`."""
    try:
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns, names)
    except BaseException as error:
        errors.append(error)
        raise


def _connect(memory: str, folder: str) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(config={**_SETTINGS, "memory_limit": memory, "temp_directory": folder})
    except duckdb.Error as error:
        raise UserError(f"--memory {memory}: cannot be had; give another size, such as 500MB or 4GB") from error


def _doubled(memory: str) -> str:
    """Returns twice the memory, at least MIN_MEMORY, in MB."""
    found = _MEMORY.fullmatch(memory)
    assert found is not None
    size = float(found[1]) * (1024 if found[3] else 1000) ** (" KMGT".index(found[2].upper()))
    return f"{max(2 * size, MIN_MEMORY) / 1e6:.0f}MB"
