"""Parquet, which holds Arrow's own types."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.tables.format import Format, Write, check_columns
from stonkgs.tables.types import is_text

#: Rows that are decoded at a time.
ROWS = 1 << 16
#: A column chunk is read in pieces of so many bytes, however large its row group is.
BUFFER = 1 << 20
#: Parts are gathered up to this many bytes or rows: readers are slow on row groups of a few hundred rows.
ROW_GROUP_BYTES = 64 << 20
ROW_GROUP_ROWS = 128 << 10


class Parquet(Format):
    """A part has one row group; joined files have row groups of a size that readers like."""

    extension = "parquet"

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write a part fast, with pyarrow's own defaults: `join` packs it better."""
        pq.write_table(table, file)

    @contextmanager
    def writing(self, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
        """A row group for each table."""
        texts = [field.name for field in schema if is_text(field.type)]  # numbers hardly ever come again
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as parquet:
            yield parquet.write_table

    def verify(self, file: Path, rows: int) -> None:
        """Look at the footer, which is what a reader needs."""
        try:
            found = pq.read_metadata(file).num_rows
        except pa.ArrowException as error:
            raise OSError(f"cannot be read back: {error}") from error
        if found != rows:
            raise OSError(f"{found:,} of {rows:,} rows arrived")

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Gather parts into row groups."""
        with pq.ParquetWriter(file, schema, compression="zstd") as joined:
            for tables in _gathered(parts):
                # The parts' own types differ where Parquet has no such type: seconds are read as milliseconds.
                joined.write_table(pa.concat_tables(tables).cast(schema), row_group_size=ROW_GROUP_ROWS)

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """The columns of the first file."""
        return pq.read_schema(files[0])

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches of ROWS rows at most."""
        with opened(file) as parquet:
            check_columns(file, parquet.schema_arrow.names, wanted)
            for batch in parquet.iter_batches(ROWS, columns=wanted.names, use_threads=False):
                yield batch.select(wanted.names)


def opened(file: str | Path) -> pq.ParquetFile:
    """Open a file so that it is read at constant memory."""
    return pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)


def _gathered(parts: Iterator[Path]) -> Iterator[list[pa.Table]]:
    """The parts' tables, in lists of a row group's size."""
    tables: list[pa.Table] = []
    size = rows = 0
    for part in parts:
        with pq.ParquetFile(part) as file:  # not read_table: that takes a folder's name `a=b` for a column
            tables.append(file.read(use_threads=False))
        size, rows = size + tables[-1].nbytes, rows + len(tables[-1])
        if size >= ROW_GROUP_BYTES or rows >= ROW_GROUP_ROWS:
            yield tables
            tables, size, rows = [], 0, 0
    if tables:
        yield tables
