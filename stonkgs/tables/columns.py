"""Columns of statements in Arrow: how JSON text is marked, and how statements become columns again."""

import json
import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import pyarrow as pa

from stonkgs.statement import Statement

#: Metadata of a string column whose texts are JSON: the input's values have no single Arrow type.
_JSON = {b"stonkgs": b"json"}
#: Metadata key: names the kinds of a column's values in words, where they have no single type.
HOLDS: Final = b"holds"

#: Returns a value as the text of a JSON column. Raises ValueError for NaN and infinities, which JSON lacks.
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


#: Half of a surrogate pair, which is no character and fits no file.
_SURROGATES = re.compile("[\ud800-\udfff]")


def nearest_json(value: Any) -> str | None:
    """Returns a value as JSON text, null for each NaN and infinity in it; None where it cannot be written at all."""
    try:
        try:
            text = json_text(value)
        except ValueError:
            text = json_text(finite(value))
    except (TypeError, ValueError, RecursionError):
        return None
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def finite(value: Any) -> Any:
    """Returns a value of JSON with None for each NaN and infinity, which JSON lacks."""
    if type(value) is list:
        return [finite(item) for item in value]
    if type(value) is dict:
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


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
