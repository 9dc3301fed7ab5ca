"""Arrow columns as values that text formats can hold."""

import json
from typing import Any

import pyarrow as pa
from pyarrow import types

#: What JSON has a type for.
PLAIN = (bool, int, float, str, list, dict)


def plain(column: pa.ChunkedArray) -> list[Any]:
    """None, bool, int, float, str, or lists and dictionaries of them.

    Times, dates and decimals become text, which holds all their digits; bytes become text with backslash escapes.
    """
    kind = column.type
    if types.is_temporal(kind) or types.is_decimal(kind):
        return list(column.cast(pa.string()).to_pylist())
    return [value if value is None or isinstance(value, PLAIN) else _text(value) for value in column.to_pylist()]


def dumps(value: Any) -> str:
    """JSON text; what JSON has no type for, deep in a nested value, as text."""
    return json.dumps(value, ensure_ascii=False, default=_text)


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
