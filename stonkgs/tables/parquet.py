"""Parquet as a file format. It stores Arrow's types."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.tables.format import Format, Write, check_columns
from stonkgs.tables.types import is_text

#: Rows decoded at a time.
ROWS = 1 << 16
#: Bytes read at a time from a column chunk, so that a large row group does not fill the memory.
BUFFER = 1 << 20
#: Parts are merged into row groups of up to this size: readers are slow on groups of a few hundred rows.
ROW_GROUP_BYTES = 64 << 20
ROW_GROUP_ROWS = 128 << 10


class Parquet(Format):
    """A part has one row group, or several if it is long; `join` merges them into groups that are fast to read."""

    extension = "parquet"

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write a part with pyarrow's fast defaults; `join` compresses better."""
        pq.write_table(table, file)

    @contextmanager
    def writing(self, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
        """Write a row group for each table."""
        texts = [field.name for field in schema if is_text(field.type)]  # numbers seldom repeat
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as parquet:
            yield parquet.write_table

    def verify(self, file: Path, rows: int) -> None:
        """Read the footer, without which no reader can open the file."""
        try:
            found = pq.read_metadata(file).num_rows
        except pa.ArrowException as error:
            raise OSError(f"cannot be read back: {error}") from error
        if found != rows:
            raise OSError(f"{found:,} of {rows:,} rows arrived")

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Merge the parts into larger row groups, with the columns of `schema`."""
        with pq.ParquetWriter(file, schema, compression="zstd") as joined:
            for tables in _gathered(parts, schema.names):
                # Parquet has no seconds: it reads them as milliseconds.
                joined.write_table(pa.concat_tables(tables).cast(schema), row_group_size=ROW_GROUP_ROWS)

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns the columns of the first file."""
        return pq.read_schema(files[0])

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields batches of at most ROWS rows."""
        with open_streaming(file) as parquet:
            check_columns(file, parquet.schema_arrow.names, wanted)
            for batch in parquet.iter_batches(ROWS, columns=wanted.names, use_threads=False):
                yield batch.select(wanted.names)


def open_streaming(file: str | Path) -> pq.ParquetFile:
    """Open a file such that reading it takes constant memory."""
    return pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)


def _gathered(parts: Iterator[Path], names: Sequence[str]) -> Iterator[list[pa.Table]]:
    """Yields these columns of the parts in lists of tables, each for one row group."""
    tables: list[pa.Table] = []
    size = rows = 0
    for part in parts:
        with pq.ParquetFile(part) as file:  # read_table would take a folder's name `a=b` for a column
            for group in range(file.num_row_groups):  # one, but of a very long part
                tables.append(file.read_row_group(group, columns=names, use_threads=False).select(names))
                size, rows = size + tables[-1].nbytes, rows + len(tables[-1])
                if size >= ROW_GROUP_BYTES or rows >= ROW_GROUP_ROWS:
                    yield tables
                    tables, size, rows = [], 0, 0
    if tables:
        yield tables
