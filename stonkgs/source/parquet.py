"""Parquet: splits are ranges of rows, which the file's footer tells."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Limit, Source, alike
from stonkgs.source.file import Kept, Paths
from stonkgs.source.split import SPLIT_BYTES, Split, ranges
from stonkgs.statement import RAW_LIMIT, Rejection, Statement, Tally
from stonkgs.tables.parquet import opened as streamed
from stonkgs.tables.types import Undecodable, as_read, cells, is_sound, is_text, obstacle, stored, values

#: Rows are decoded this many at a time, or fewer where they are large: a batch is of BATCH_BYTES at most.
BATCH_ROWS = 1024
BATCH_BYTES = 16 << 20


class Rows:
    """A file's rows from any row on, in batches. It goes on where it stopped, so that rising ranges are one pass."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.parquet = opened(file)
        self.schema = as_read(self.parquet.schema_arrow)
        footer = self.parquet.metadata
        groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        #: Number of each row group's first row, counted from 0.
        self.firsts = np.cumsum([0, *groups])
        self.batch_rows = int(np.clip(BATCH_BYTES // row_bytes(footer), 1, BATCH_ROWS))
        # The batch in hand holds the rows up to `_next`.
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._next = -1

    def slices(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows of [start, stop), in pieces: (number of the piece's first row, from 0; the piece)."""
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
        """Have `_advance` lead to a row: go on, or start at its row group where that is behind or further ahead."""
        group = int(np.searchsorted(self.firsts, row, side="right")) - 1
        held = self._batch.num_rows if self._batch is not None else 0
        if self.firsts[group] <= self._next and self._next - held <= row:
            return
        # One thread: a worker has one core, and a forked process none of its parent's threads.
        groups = range(group, len(self.firsts) - 1)
        self._batches = self.parquet.iter_batches(self.batch_rows, row_groups=groups, use_threads=False)
        self._batch, self._next = None, int(self.firsts[group])

    def _advance(self) -> None:
        with naming_damage(self.file):
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
    """Parquet files. Columns keep their types; a role's must be text."""

    def __init__(self, *, path: Paths, columns: Mapping[str, str] | None = None, limit: Limit | None = None) -> None:
        super().__init__(path=path, columns=columns, limit=limit)
        self.kept: Kept[Rows] = Kept()

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """The files' Arrow schema, without views and what pandas notes in it about an index."""
        schema = alike(files, map(_schema, files))
        for field in schema:
            if reason := obstacle(field.type):
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
        """Rows, as the footer tells."""
        found = min(count, self.total([file]))
        return found, found

    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """Ranges of `rows` rows [splits, 2], fewer where they would be larger than SPLIT_BYTES."""
        with opened(file) as parquet:
            footer = parquet.metadata
            step = max(1, min(rows, SPLIT_BYTES // row_bytes(footer)))
            return ranges(0, min(stop, footer.num_rows), step)

    def total(self, files: Sequence[str]) -> int:
        """Rows in all."""
        return sum(pq.read_metadata(file).num_rows for file in files)

    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """The rows [start, stop), in order. The file stays open for the next split."""
        rows = self.kept.take(split.file) or Rows(split.file)
        try:
            for first, batch in rows.slices(split.start, split.stop):
                yield from self._statements(split.file, first, batch)
            return Tally()
        finally:
            self.kept.give(split.file, rows)

    def _statements(self, file: str, first: int, batch: pa.RecordBatch) -> Iterator[Statement | Rejection]:
        roles = [self.columns[role] for role in ROLES]
        names = batch.schema.names
        columns = [stored(column) for column in batch.columns]
        suspects = [name for name, column in zip(names, columns, strict=True) if not is_sound(column)]
        table = [
            cells(column) if name in suspects else values(column) for name, column in zip(names, columns, strict=True)
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


def opened(file: str) -> pq.ParquetFile:
    """Open a file for reading at constant memory; UserError where it is not Parquet."""
    with naming_damage(file):
        return streamed(file)


@contextmanager
def naming_damage(file: str) -> Iterator[None]:
    """Turn Arrow's errors into a UserError of one line that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: cannot be read as Parquet, is it damaged or of another format? ({reason})") from error


def row_bytes(footer: pq.FileMetaData) -> int:
    """Bytes of the mean row, uncompressed; at least 1."""
    total: int = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    rows: int = footer.num_rows
    return max(1, total // max(rows, 1))


def _schema(file: str) -> pa.Schema:
    with opened(file) as parquet:
        schema = as_read(parquet.schema_arrow)
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"pandas"}
    return schema.with_metadata(metadata or None)
