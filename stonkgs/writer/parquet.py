"""Parquet, with the input's own types."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.writer.base import PredictionWriter

#: Parts are gathered up to this many bytes: readers are slow on row groups of a few hundred rows.
ROW_GROUP_BYTES = 64 << 20


class ParquetWriter(PredictionWriter):
    """`predictions.parquet`: probabilities are float32."""

    extension = "parquet"

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        pq.write_table(table, file)

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd") as joined:
            gathered: list[pa.Table] = []
            for part in parts:
                gathered.append(pq.read_table(part, schema=schema))
                if sum(table.nbytes for table in gathered) >= ROW_GROUP_BYTES:
                    joined.write_table(pa.concat_tables(gathered))
                    gathered = []
            if gathered:
                joined.write_table(pa.concat_tables(gathered))
