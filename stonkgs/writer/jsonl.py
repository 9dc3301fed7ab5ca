"""JSON lines."""

from typing import BinaryIO

import pyarrow as pa

from stonkgs.tables.lines import json_lines
from stonkgs.tables.values import check_writable
from stonkgs.writer.base import PredictionWriter


class JsonlWriter(PredictionWriter):
    """`predictions.jsonl`: an object a row; columns that hold JSON are objects again, not text."""

    extension = "jsonl"

    def check(self, schema: pa.Schema) -> None:
        check_writable(schema)

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        file.writelines(json_lines(table))
