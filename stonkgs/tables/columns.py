"""The input's columns as an Arrow schema: what is passed through keeps its type from source to writer."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from stonkgs.statement import Statement

#: Marks a string column that holds JSON text: values of an input that has no other one type for them.
_JSON = {b"stonkgs": b"json"}
#: Key of a column's metadata: the kinds of its values, in words, where they are of no one type.
HOLDS: Final = b"holds"

#: What a column of JSON text holds of a value; ValueError for NaN and infinities, which are no JSON.
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def json_field(name: str) -> pa.Field:
    """A column of JSON text."""
    return pa.field(name, pa.string(), metadata=_JSON)


def is_json(field: pa.Field) -> bool:
    """Whether a column holds JSON text."""
    return bool(_JSON.items() <= (field.metadata or {}).items())


def as_columns(statements: Sequence[Statement], schema: pa.Schema, roles: Mapping[str, str]) -> pa.RecordBatch:
    """Statements as the input's columns, its types and its order. `roles` are its names of the three of a statement."""
    role_of = {name: role for role, name in roles.items()}
    arrays = []
    for column in schema:
        role = role_of.get(column.name)
        values = [getattr(statement, role) if role else statement.extra[column.name] for statement in statements]
        arrays.append(pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
