"""Columns of statements in Arrow: how JSON text is marked, and how statements become columns again."""

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from stonkgs.statement import Statement

#: Metadata of a string column whose texts are JSON: the input's values have no single Arrow type.
_JSON = {b"stonkgs": b"json"}
#: Metadata key: names the kinds of a column's values in words, where they have no single type.
HOLDS: Final = b"holds"


def json_field(name: str) -> pa.Field:
    """Returns a column of JSON text."""
    return pa.field(name, pa.string(), metadata=_JSON)


def is_json(field: pa.Field) -> bool:
    """Returns whether a column holds JSON text."""
    return bool(_JSON.items() <= (field.metadata or {}).items())


def as_columns(statements: Sequence[Statement], schema: pa.Schema, roles: Mapping[str, str]) -> pa.RecordBatch:
    """Returns statements as columns of the input's names, types and order.

    `roles` maps source, target and evidence to the input's names for them.
    """
    role_of = {name: role for role, name in roles.items()}
    arrays = []
    for column in schema:
        role = role_of.get(column.name)
        values = [getattr(statement, role) if role else statement.extra[column.name] for statement in statements]
        arrays.append(pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
