"""Parquet as a source. Splits are ranges of rows, which a file's footer counts."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Limit, Source, common_schema
from stonkgs.source.file import Paths, ReaderCache
from stonkgs.source.split import SPLIT_BYTES, Split, ranges
from stonkgs.statement import RAW_LIMIT, Rejection, Statement, Tally
from stonkgs.tables.parquet import open_streaming
from stonkgs.tables.types import (
    Undecodable,
    checked_values,
    exact_values,
    is_text,
    is_utf8,
    storage,
    unsupported_reason,
    without_views,
)

#: The most rows and bytes that are decoded at a time.
BATCH_ROWS = 1024
BATCH_BYTES = 16 << 20


class RowReader:
    """Reads ranges of a file's rows in batches. Rising ranges are read in one pass."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.parquet = open_parquet(file)
        self.schema = without_views(self.parquet.schema_arrow)
        footer = self.parquet.metadata
        groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        #: Number of each row group's first row, counted from 0.
        self.firsts = np.cumsum([0, *groups])
        self.batch_rows = int(np.clip(BATCH_BYTES // row_bytes(footer), 1, BATCH_ROWS))
        # `_batch` is the current batch. Its last row is the one before `_next`.
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._next = -1

    def slices(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yields the rows [start, stop) in pieces, each with the number of its first row, from 0."""
        self._seek(start)
        while start < stop:
            if start >= self._next:
                self._advance()
                continue
            assert self._batch is not None
            piece = self._batch.slice(start - self._next + self._batch.num_rows, stop - start)
            yield start, piece
            start += piece.num_rows

    def _seek(self, row: int) -> None:
        """Start again at the row group of a row, unless reading on from the current batch reaches it sooner."""
        group = int(np.searchsorted(self.firsts, row, side="right")) - 1
        held = self._batch.num_rows if self._batch is not None else 0
        if self.firsts[group] <= self._next and self._next - held <= row:
            return
        # One thread, because a worker has one core, and a forked process has none of its parent's threads.
        groups = range(group, len(self.firsts) - 1)
        self._batches = self.parquet.iter_batches(self.batch_rows, row_groups=groups, use_threads=False)
        self._batch, self._next = None, int(self.firsts[group])

    def _advance(self) -> None:
        with parquet_errors(self.file):
            batch = next(self._batches, None)
        if batch is None:
            raise UserError(f"{self.file}: ends after {self._next} rows, its footer tells of {self.firsts[-1]}")
        self._batch = batch.cast(self.schema)
        self._next += batch.num_rows

    def close(self) -> None:
        """Close the file."""
        self._batches, self._batch = iter(()), None
        self.parquet.close()


class ParquetSource(Source):
    """Parquet files. Columns keep their types; those of source, target and evidence must be text."""

    def __init__(self, *, path: Paths, columns: Mapping[str, str] | None = None, limit: Limit | None = None) -> None:
        super().__init__(path=path, columns=columns, limit=limit)
        self.kept: ReaderCache[RowReader] = ReaderCache()

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns the files' Arrow schema, with plain types for views and without pandas' metadata on an index."""
        schema = common_schema(files, map(_schema, files))
        for field in schema:
            if reason := unsupported_reason(field.type):
                raise UserError(
                    f"{files[0]}: column {field.name!r} is {field.type}, which is not supported ({reason}); "
                    "convert it to another type, or leave it out"
                )
        for role in ROLES:
            for field in schema:
                if field.name == self.columns[role] and not is_text(field.type):
                    raise UserError(
                        f"{files[0]}: column {field.name!r} is {field.type}, not text; convert it to strings, "
                        f"or name another column with source.columns.{role}="
                    )
        return schema

    def reach(self, file: str, count: int) -> tuple[int, int]:
        """Returns the number of rows, by the footer, at most `count`, and the same number as the stop."""
        found = min(count, self.total([file]))
        return found, found

    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns ranges of `rows` rows [splits, 2], or of fewer where they would exceed SPLIT_BYTES."""
        with open_parquet(file) as parquet:
            footer = parquet.metadata
            step = max(1, min(rows, SPLIT_BYTES // row_bytes(footer)))
            return ranges(0, min(stop, footer.num_rows), step)

    def total(self, files: Sequence[str]) -> int:
        """Returns the number of rows in all files, by their footers."""
        return sum(pq.read_metadata(file).num_rows for file in files)

    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows [start, stop), in order. The file stays open for the next split."""
        rows = self.kept.take(split.file) or RowReader(split.file)
        try:
            for first, batch in rows.slices(split.start, split.stop):
                yield from self._statements(split.file, first, batch)
            return Tally()
        finally:
            self.kept.give(split.file, rows)

    def _statements(self, file: str, first: int, batch: pa.RecordBatch) -> Iterator[Statement | Rejection]:
        roles = [self.columns[role] for role in ROLES]
        names = batch.schema.names
        columns = [storage(column) for column in batch.columns]
        suspects = [name for name, column in zip(names, columns, strict=True) if not is_utf8(column)]
        table = [
            checked_values(column) if name in suspects else exact_values(column)
            for name, column in zip(names, columns, strict=True)
        ]
        for number, row in enumerate(zip(*table, strict=True), start=first + 1):
            record = dict(zip(names, row, strict=True))
            if reason := _fault(record, roles, suspects):
                raw = json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
                yield Rejection(file, reason, raw[:RAW_LIMIT], row=number)
            else:
                source, target, evidence = map(record.pop, roles)
                yield Statement(source, target, evidence, record)


def _fault(record: Mapping[str, Any], roles: Sequence[str], suspects: Sequence[str]) -> str | None:
    for name in suspects:
        if isinstance(record[name], Undecodable):
            return f"not UTF-8: {name!r}"
    for name in roles:
        if record[name] is None:
            return f"{name!r} is null"
    return None


def open_parquet(file: str) -> pq.ParquetFile:
    """Open a file such that reading it takes constant memory. Raises UserError where it is not Parquet."""
    with parquet_errors(file):
        return open_streaming(file)


@contextmanager
def parquet_errors(file: str) -> Iterator[None]:
    """Turn Arrow's errors into a UserError of one line that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:  # of a name alone: texts are checked one by one
        raise UserError(f"{file}: the name of a column, or of a field in one, is not UTF-8; rename it") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: cannot be read as Parquet, is it damaged or of another format? ({reason})") from error


def row_bytes(footer: pq.FileMetaData) -> int:
    """Returns the uncompressed bytes of the mean row, at least 1."""
    total: int = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    rows: int = footer.num_rows
    return max(1, total // max(rows, 1))


def _schema(file: str) -> pa.Schema:
    with open_parquet(file) as parquet:
        schema = without_views(parquet.schema_arrow)
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"pandas"}
    return schema.with_metadata(metadata or None)
