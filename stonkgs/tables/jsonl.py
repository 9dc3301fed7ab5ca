"""JSON Lines as a file format: each row is an object on a line of its own."""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from stonkgs.tables.columns import HOLDS, is_json
from stonkgs.tables.damage import reading
from stonkgs.tables.exact_json import CONSTANTS, strict_text
from stonkgs.tables.text import TextFormat, blocks
from stonkgs.tables.values import dumps, not_finite, plain_values

#: Arrow type -> the Python types that it holds. A column gets the first type that holds all of its values.
TYPES: Final[dict[pa.DataType, set[type]]] = {
    pa.null(): set(),
    pa.bool_(): {bool},
    pa.int64(): {int},
    pa.float64(): {int, float},
    pa.string(): {str},
}
#: Python type -> its name in messages.
KINDS: Final = {bool: "true or false", int: "numbers", float: "numbers", str: "texts", list: "lists", dict: "objects"}


class Jsonl(TextFormat):
    """An object per line. A column of JSON text is written as the value that the text encodes."""

    extension = "jsonl"

    def lines(self, table: pa.Table) -> Iterator[bytes]:
        """Yields an object per row."""
        columns = [
            (_texts if encoded else _members)(list(fields), table) for encoded, fields in groupby(table.schema, is_json)
        ]
        for row in zip(*columns, strict=True):
            yield f"{{{', '.join(row)}}}\n".encode()

    def made_null(self, table: pa.Table) -> int:
        """Returns the number of NaNs and infinities, at any depth."""
        return sum(
            _constants(table[field.name]) if is_json(field) else not_finite(table[field.name]) for field in table.schema
        )

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns for each key the type that holds the values of all rows; reads all of the files.

        A column of nested values, or of several kinds, gets a struct type, and the kinds in words as its metadata.
        """
        seen: dict[tuple[str, type], None] = {}  # an ordered set
        for file in files:
            with reading(file, "its columns"):
                for line in filter(bytes.strip, (line for block in blocks(file) for line in block.splitlines())):
                    row = _loads(line)
                    seen |= dict.fromkeys(zip(row, map(type, row.values()), strict=True))
        kinds: dict[str, set[type]] = {}
        for name, kind in seen:
            kinds.setdefault(name, set()).update({kind} - {type(None)})
        return pa.schema([_field(name, of_name) for name, of_name in kinds.items()])

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields the wanted keys; null where a row lacks one."""
        parse = pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore")
        for block in blocks(file):
            read = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            try:
                table = pyarrow.json.read_json(io.BytesIO(block), read, parse)
            except pa.ArrowInvalid:  # Arrow refuses a block with a number such as 1e999 in any column
                table = _read_slowly(block, wanted)
            yield from table.select(wanted.names).to_batches()


def _members(fields: Sequence[pa.Field], table: pa.Table) -> Iterator[str]:
    """Yields for each row the members of its object that are these columns."""
    names = [field.name for field in fields]
    for row in zip(*(plain_values(table[name]) for name in names), strict=True):
        yield dumps(dict(zip(names, row, strict=True)))[1:-1]


def _texts(fields: Sequence[pa.Field], table: pa.Table) -> Iterator[str]:
    """Yields the same for columns of JSON text, which is copied: a number has all the digits that it came with."""
    keys = [dumps(field.name) for field in fields]
    for row in zip(*(table[field.name].to_pylist() for field in fields), strict=True):
        texts = ["null" if text is None else strict_text(text)[0] for text in row]
        yield ", ".join(f"{key}: {text}" for key, text in zip(keys, texts, strict=True))


def _constants(column: pa.ChunkedArray) -> int:
    """Returns the number of NaNs and infinities in a column of JSON text, which only other programs put there."""
    suspects = column.filter(pc.match_substring_regex(column, "|".join(CONSTANTS)))
    return sum(strict_text(text)[1] for text in suspects.to_pylist())


def _read_slowly(block: bytes, wanted: pa.Schema) -> pa.Table:
    """Returns the wanted keys of the rows in a block, read with Python."""
    rows = [_loads(line) for line in block.splitlines() if line.strip()]
    return pa.table({field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in wanted})


def _loads(line: bytes) -> dict[str, Any]:
    """Returns a row. Its numbers are Python's, whatever their digits."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a whole number of more digits than Python converts
        row = json.loads(line, parse_int=float)
    if type(row) is not dict:
        raise ValueError("a line is no JSON object")
    return row


def _field(name: str, kinds: set[type]) -> pa.Field:
    if type_ := next((type_ for type_, fits in TYPES.items() if kinds <= fits), None):
        return pa.field(name, type_)
    return pa.field(name, pa.struct([]), metadata={HOLDS: " and ".join(sorted({KINDS[kind] for kind in kinds}))})
