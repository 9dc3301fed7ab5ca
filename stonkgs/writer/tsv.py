"""Tab-separated values, quoted the way pandas and spreadsheets read them."""

import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa

from stonkgs.writer.base import PredictionWriter
from stonkgs.writer.values import check_writable, dumps, plain

#: A lone carriage return ends a line for most readers; Python's csv writer leaves it bare before 3.13.
_QUOTED = re.compile(r'["\t\n\r]')


class TsvWriter(PredictionWriter):
    """`predictions.tsv`: null is an empty field, floats have the digits that read back exactly."""

    extension = "tsv"

    def check(self, schema: pa.Schema) -> None:
        check_writable(schema)

    def header(self, schema: pa.Schema) -> bytes:
        return _line(schema.names)

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        file.write(self.header(table.schema))
        columns = [plain(column) for column in table.columns]
        file.writelines(_line(map(_cell, row)) for row in zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    # repr of a float is the shortest text that reads back as the same double; JSON's true and false are pandas' too.
    return repr(value) if isinstance(value, float) else dumps(value)


def _line(cells: Iterable[str]) -> bytes:
    return ("\t".join(map(_quote, cells)) + "\n").encode()


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
