"""Parquet: splits are ranges of rows, which the file's footer tells."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Source, alike
from stonkgs.source.file import Kept
from stonkgs.source.split import SPLIT_BYTES, Split, ranges
from stonkgs.statement import RAW_LIMIT, Rejection, Statement

#: Rows are decoded this many at a time, or fewer where they are large: a batch is of BATCH_BYTES at most.
BATCH_ROWS = 1024
BATCH_BYTES = 16 << 20
#: Column chunks are read by this many bytes, however large their row group is.
BUFFER = 1 << 20


class Undecodable(str):
    """What stands for a cell that is not UTF-8: its bytes with backslash escapes."""


class Rows:
    """A file's rows from any row on, in batches. It goes on where it stopped, so that rising ranges are one pass."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.parquet = opened(file)
        self.schema = _as_read(self.parquet.schema_arrow)
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

    def __init__(self, *, path: str | Sequence[str], columns: Mapping[str, str] | None = None) -> None:
        super().__init__(path=path, columns=columns)
        self.kept: Kept[Rows] = Kept()

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """The files' Arrow schema, without views and what pandas notes in it about an index."""
        schema = alike(files, map(_schema, files))
        for field in schema:
            if reason := _obstacle(field.type):
                raise UserError(
                    f"{files[0]}: column {field.name!r} is {field.type}, which is not supported ({reason}); "
                    "convert it to another type, or leave it out"
                )
        for role in ROLES:
            for field in schema:
                if field.name == self.columns[role] and not _is_text(field.type):
                    raise UserError(
                        f"{files[0]}: column {field.name!r} is {field.type}, not text; convert it to strings, "
                        f"or name another column with source.columns.{role}="
                    )
        return schema

    def cuts(self, file: str, rows: int) -> npt.NDArray[np.int64]:
        """Ranges of `rows` rows [splits, 2], fewer where they would be larger than SPLIT_BYTES."""
        with opened(file) as parquet:
            footer = parquet.metadata
            return ranges(0, footer.num_rows, max(1, min(rows, SPLIT_BYTES // row_bytes(footer))))

    def total(self, files: Sequence[str]) -> int:
        """Rows in all."""
        return sum(pq.read_metadata(file).num_rows for file in files)

    def read(self, split: Split) -> Generator[Statement | Rejection, None, None]:
        """The rows [start, stop), in order. The file stays open for the next split."""
        rows = self.kept.take(split.file) or Rows(split.file)
        try:
            for first, batch in rows.slices(split.start, split.stop):
                yield from self._statements(split.file, first, batch)
        finally:
            self.kept.give(split.file, rows)

    def _statements(self, file: str, first: int, batch: pa.RecordBatch) -> Iterator[Statement | Rejection]:
        roles = [self.columns[role] for role in ROLES]
        names = batch.schema.names
        columns = [_stored(column) for column in batch.columns]
        suspects = [name for name, column in zip(names, columns, strict=True) if not _is_sound(column)]
        cells = [
            _cells(column) if name in suspects else values(column) for name, column in zip(names, columns, strict=True)
        ]
        for number, row in enumerate(zip(*cells, strict=True), start=first + 1):
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


def values(column: pa.Array) -> list[Any]:
    """A column's values, of which pa.array(values, type=column.type) makes the column again.

    Plain Python values where they are exact; pyarrow's scalars for what Python has no exact type for, such as
    timestamps, which reach further and are finer than datetime.
    """
    return column.to_pylist() if _is_exact(column.type) else [_exact(scalar) for scalar in column]


def _is_exact(type_: pa.DataType) -> bool:
    """Whether Python's own types hold every value of this one."""
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    if types.is_nested(type_):
        return all(_is_exact(type_.field(number).type) for number in range(type_.num_fields))
    numbers = (types.is_null, types.is_boolean, types.is_integer, types.is_float32, types.is_float64)
    return any(test(type_) for test in (*numbers, _is_text, _is_binary))


def _exact(scalar: pa.Scalar) -> Any:
    """A scalar, or for a nested one a Python value with scalars in it: pa.array takes no nested scalars."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.MapScalar):
        return [(_exact(item["key"]), _exact(item["value"])) for item in scalar.values]
    if isinstance(scalar, pa.ListScalar):
        return [_exact(item) for item in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _exact(item) for name, item in scalar.items()}
    return scalar.as_py() if _is_exact(scalar.type) else scalar


def _is_text(type_: pa.DataType) -> bool:
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    return any(test(type_) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _is_binary(type_: pa.DataType) -> bool:
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(type_) for test in tests)


def _stored(column: pa.Array) -> pa.Array:
    """The column without an extension, whose type makes it again from what is stored, and without a dictionary: one
    bad entry there would make every row suspect.
    """
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def _is_sound(column: pa.Array) -> bool:
    """Whether the texts are UTF-8. Parquet promises it, and no reader checks."""
    if not _is_text(column.type) and not types.is_nested(column.type):
        return True  # Arrow would also find times that no day has, which are passed on as they are
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _cells(column: pa.Array) -> list[Any]:
    """The values of a column in which some are not UTF-8."""
    # A slice of a list keeps all of the texts, and would be judged by all of them.
    nested = types.is_nested(column.type)
    singles = (column.take(pa.array([row])) if nested else column.slice(row, 1) for row in range(len(column)))
    return [values(single)[0] if _is_sound(single) else _shown(single) for single in singles]


def _shown(single: pa.Array) -> Undecodable:
    if not _is_text(single.type):
        return Undecodable(f"({single.type} that is not UTF-8)")
    return Undecodable(single.cast(pa.large_binary())[0].as_py().decode("utf-8", "backslashreplace"))


def opened(file: str) -> pq.ParquetFile:
    """Open a file for reading at constant memory; UserError where it is not Parquet."""
    with naming_damage(file):
        return pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)


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
        schema = _as_read(parquet.schema_arrow)
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"pandas"}
    return schema.with_metadata(metadata or None)


def _as_read(schema: pa.Schema) -> pa.Schema:
    """The schema without views, of which Arrow cannot take single rows."""
    return pa.schema([_without_views(field) for field in schema], schema.metadata)


def _without_views(field: pa.Field) -> pa.Field:
    type_ = field.type
    if types.is_string_view(type_):
        type_ = pa.large_string()
    elif types.is_binary_view(type_):
        type_ = pa.large_binary()
    elif types.is_struct(type_):
        type_ = pa.struct([_without_views(child) for child in type_])
    elif types.is_map(type_):
        type_ = pa.map_(_without_views(type_.key_field), _without_views(type_.item_field), type_.keys_sorted)
    elif types.is_list(type_):
        type_ = pa.list_(_without_views(type_.value_field))
    elif types.is_large_list(type_):
        type_ = pa.large_list(_without_views(type_.value_field))
    elif types.is_fixed_size_list(type_):
        type_ = pa.list_(_without_views(type_.value_field), type_.list_size)
    return field.with_type(type_)


def _obstacle(type_: pa.DataType, depth: int = 0) -> str | None:
    """Why a column cannot pass through, None where it can. Most of it Arrow finds out only when it meets a row."""
    if types.is_dictionary(type_) and depth:
        return "Arrow does not read a nested dictionary from several row groups"
    if types.is_string_view(type_) or types.is_binary_view(type_):
        return "Arrow cannot take rows of it"
    children = [type_.field(number) for number in range(type_.num_fields)]
    if len({child.name for child in children}) < len(children):
        return "several fields have one name"
    for child in children:
        if reason := _obstacle(child.type, depth + 1):
            return reason
    try:
        pa.array(values(pa.nulls(1, type_)), type_).take(pa.array([0]))
    except (pa.ArrowException, TypeError) as error:
        return str(error).splitlines()[0]
    return None
