"""TSV as a file format, quoted the way pandas and spreadsheets read it."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from pyarrow import types

from stonkgs.tables.format import check_columns
from stonkgs.tables.text import TextFormat, blocks
from stonkgs.tables.values import dumps, not_finite, plain_values

#: A field with one of these characters is quoted. Most readers end a line at a lone carriage return, too; Python's csv
#: module quotes it only since 3.13.
_QUOTED = re.compile(r'["\t\n\r]')


class Tsv(TextFormat):
    """A header and a line per row. Null is an empty field; a float has the digits that read back exactly."""

    extension = "tsv"

    def header(self, schema: pa.Schema) -> bytes:
        """Returns the line of the columns' names."""
        return _line(schema.names)

    def lines(self, table: pa.Table) -> Iterator[bytes]:
        """Yields a line per row."""
        return (_line(map(_cell, row)) for row in zip(*map(plain_values, table.columns), strict=True))

    def made_null(self, table: pa.Table) -> int:
        """Returns the number of NaNs and infinities within lists and objects, which are JSON; a cell may be one."""
        return sum(not_finite(column) for column in table.columns if types.is_nested(column.type))

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns the columns of the first file, all of them text."""
        return pa.schema([(name, pa.string()) for name in _names(files[0])])

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields the wanted columns; an empty field is null."""
        header = _names(file)
        check_columns(file, header, wanted)
        numbers = [str(header.index(name)) for name in wanted.names]  # column names may repeat
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
    # repr is the shortest text that reads back as the same float. pandas understands JSON's true and false.
    return repr(value) if isinstance(value, float) else dumps(value)


def _line(cells: Iterable[str]) -> bytes:
    return ("\t".join(map(_quote, cells)) + "\n").encode()


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
