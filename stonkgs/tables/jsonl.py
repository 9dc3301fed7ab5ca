"""JSON Lines as a file format: each row is an object on a line of its own."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.json

from stonkgs.tables.columns import HOLDS, is_json
from stonkgs.tables.damage import reading
from stonkgs.tables.text import TextFormat, blocks
from stonkgs.tables.values import dumps, plain_values

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
        columns = [_values(field, table[field.name]) for field in table.schema]
        for row in zip(*columns, strict=True):
            yield dumps(dict(zip(table.schema.names, row, strict=True))).encode() + b"\n"

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns for each key the type that holds the values of all rows; reads all of the files.

        A column of nested values, or of several kinds, gets a struct type, and the kinds in words as its metadata.
        """
        seen: dict[tuple[str, type], None] = {}  # an ordered set
        for file in files:
            with reading(file, "its columns"):
                for line in filter(bytes.strip, (line for block in blocks(file) for line in block.splitlines())):
                    row = json.loads(line)
                    if type(row) is not dict:
                        raise ValueError("a line is no JSON object")
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
            yield from pyarrow.json.read_json(io.BytesIO(block), read, parse).select(wanted.names).to_batches()


def _values(field: pa.Field, values: pa.ChunkedArray) -> list[Any]:
    if not is_json(field):
        return plain_values(values)
    return [text if text is None else json.loads(text) for text in values.to_pylist()]


def _field(name: str, kinds: set[type]) -> pa.Field:
    if type_ := next((type_ for type_, fits in TYPES.items() if kinds <= fits), None):
        return pa.field(name, type_)
    return pa.field(name, pa.struct([]), metadata={HOLDS: " and ".join(sorted({KINDS[kind] for kind in kinds}))})
