"""JSON lines."""

import json
from typing import Any, BinaryIO

import pyarrow as pa

from stonkgs.columns import is_json
from stonkgs.writer.base import PredictionWriter
from stonkgs.writer.values import check_writable, dumps, plain


class JsonlWriter(PredictionWriter):
    """`predictions.jsonl`: an object a row; columns that hold JSON are objects again, not text."""

    extension = "jsonl"

    def check(self, schema: pa.Schema) -> None:
        check_writable(schema)

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        columns = [_values(column, table[column.name]) for column in table.schema]
        for row in zip(*columns, strict=True):
            file.write(dumps(dict(zip(table.schema.names, row, strict=True))).encode() + b"\n")


def _values(column: pa.Field, values: pa.ChunkedArray) -> list[Any]:
    if not is_json(column):
        return plain(values)
    return [text if text is None else json.loads(text) for text in values.to_pylist()]
