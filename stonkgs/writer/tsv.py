"""Tab-separated values, quoted the way pandas and spreadsheets read them."""

from typing import BinaryIO

import pyarrow as pa

from stonkgs.tables.lines import tsv_header, tsv_lines
from stonkgs.tables.values import check_writable
from stonkgs.writer.base import PredictionWriter


class TsvWriter(PredictionWriter):
    """`predictions.tsv`: null is an empty field, floats have the digits that read back exactly."""

    extension = "tsv"

    def check(self, schema: pa.Schema) -> None:
        check_writable(schema)

    def header(self, schema: pa.Schema) -> bytes:
        return tsv_header(schema)

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        file.write(tsv_header(table.schema))
        file.writelines(tsv_lines(table))
