"""Parquet, with the input's own types."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.writer.base import PredictionWriter

#: Parts are gathered up to this many bytes or rows: readers are slow on row groups of a few hundred rows.
ROW_GROUP_BYTES = 64 << 20
ROW_GROUP_ROWS = 128 << 10


class ParquetWriter(PredictionWriter):
    """`predictions.parquet`: probabilities are float32."""

    extension = "parquet"

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        pq.write_table(table, file)

    def verify(self, part: Path, rows: int) -> None:
        try:
            found = pq.read_metadata(part).num_rows
        except pa.ArrowException as error:
            raise OSError(f"cannot be read back: {error}") from error
        if found != rows:
            raise OSError(f"{found:,} of {rows:,} rows arrived")

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd") as joined:
            for tables in _gathered(parts):
                # The parts' own types differ where Parquet has no such type: seconds are read as milliseconds.
                joined.write_table(pa.concat_tables(tables).cast(schema), row_group_size=ROW_GROUP_ROWS)


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
