"""Rows as lines of text, for whoever writes files of them: tab-separated values, and JSON."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from stonkgs.tables.columns import is_json
from stonkgs.tables.values import dumps, plain

#: A lone carriage return ends a line for most readers; Python's csv writer leaves it bare before 3.13.
_QUOTED = re.compile(r'["\t\n\r]')


def tsv_header(schema: pa.Schema) -> bytes:
    """The columns' names, quoted the way pandas and spreadsheets read them."""
    return _line(schema.names)


def tsv_lines(table: pa.Table) -> Iterator[bytes]:
    """A line a row: null is an empty field, floats have the digits that read back exactly."""
    return (_line(map(_cell, row)) for row in zip(*map(plain, table.columns), strict=True))


def json_lines(table: pa.Table) -> Iterator[bytes]:
    """An object a row; columns that hold JSON are objects again, not text."""
    columns = [_values(column, table[column.name]) for column in table.schema]
    for row in zip(*columns, strict=True):
        yield dumps(dict(zip(table.schema.names, row, strict=True))).encode() + b"\n"


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


def _values(column: pa.Field, values: pa.ChunkedArray) -> list[Any]:
    if not is_json(column):
        return plain(values)
    return [text if text is None else json.loads(text) for text in values.to_pylist()]
