"""Tab-separated values, quoted the way pandas and spreadsheets read them."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from stonkgs.tables.format import check_columns
from stonkgs.tables.text import TextFormat, blocks
from stonkgs.tables.values import dumps, plain

#: A field with one of these is quoted. Most readers end a line at a lone carriage return, too, and Python's csv module
#: writes it without quotes before 3.13.
_QUOTED = re.compile(r'["\t\n\r]')


class Tsv(TextFormat):
    """A header and a line a row. Null is an empty field; a float is written with the digits that read back exactly."""

    extension = "tsv"

    def header(self, schema: pa.Schema) -> bytes:
        """The columns' names."""
        return _line(schema.names)

    def lines(self, table: pa.Table) -> Iterator[bytes]:
        """A line a row."""
        return (_line(map(_cell, row)) for row in zip(*map(plain, table.columns), strict=True))

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Every column of the first file, as text."""
        return pa.schema([(name, pa.string()) for name in _names(files[0])])

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """An empty field is null."""
        header = _names(file)
        check_columns(file, header, wanted)
        numbers = [str(header.index(name)) for name in wanted.names]  # several columns may have one name
        names = [str(number) for number in range(len(header))]
        convert = pyarrow.csv.ConvertOptions(
            include_columns=numbers, column_types=dict(zip(numbers, wanted.types, strict=True)), null_values=[""]
        )
        parse = pyarrow.csv.ParseOptions(delimiter="\t", newlines_in_values=True)
        for number, block in enumerate(blocks(file, quoted=True)):
            read = pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(block) + 1, column_names=names, skip_rows_after_names=int(number == 0)
            )
            table = pyarrow.csv.read_csv(io.BytesIO(block), read, parse, convert)
            yield from table.rename_columns(wanted.names).to_batches()


def _names(file: Path) -> list[str]:
    head = next(blocks(file, quoted=True), b"").decode()
    return next(csv.reader(io.StringIO(head, newline=""), delimiter="\t"), [])


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
