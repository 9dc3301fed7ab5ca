"""Converts Arrow columns to values that text formats can hold, at any depth of lists, structs and maps:

- decimals: text with all their digits; half floats: the same number
- dates and times: text, `2020-02-29`, `23:59:59.000`, with all digits of their unit; timestamps with a time zone are
  converted to UTC, `2020-02-29 23:59:59Z`, as offsets may have seconds and zone names may be unknown
- dates outside the years 1 to 9999, and times beyond a day: the stored number and its unit, `1073741824d`, counted
  from 1970 or from midnight
- durations: the number and its unit, `-1500ms`; units are d, s, ms, us, ns
- bytes: text, with backslash escapes for what is not UTF-8
- structs: objects; maps: lists of [key, value]
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from stonkgs.errors import UserError
from stonkgs.tables.exact_json import count_not_finite, finite

#: The Python types that JSON has.
PLAIN = {type(None), bool, int, float, str}
#: Number of each unit in a day.
TICKS = {"d": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
#: Days from 1970 to the start of the year 1, and to that of the year 10000.
FIRST_DAY, END_DAY = -719_162, 2_932_897
INT64 = 2**63 - 1
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def check_writable(schema: pa.Schema) -> None:
    """Raises UserError for a column with a struct that has two fields of one name: `plain_values` would lose one."""
    for column in schema:
        for kind in _within(column.type):
            names = [field.name for field in kind] if types.is_struct(kind) else []
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise UserError(f"column {column.name!r}: {kind} has several fields called {twice}; rename them")


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Returns a column as None, bool, int, float, str, or lists and dictionaries of them."""
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in plain_values(chunk)]
    kind = column.type
    if types.is_dictionary(kind):
        return plain_values(column.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType | pa.Bool8Type):
        return plain_values(column.storage)
    return _nested(column) if types.is_nested(kind) and not types.is_union(kind) else _leaves(column)


def dumps(value: Any) -> str:
    """Returns a value of `plain_values` as JSON text, null for each NaN and infinity in it."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(finite(value))


def not_finite(column: pa.Array | pa.ChunkedArray) -> int:
    """Returns the number of NaNs and infinities in a column, at any depth."""
    if not any(types.is_floating(kind) for kind in _within(column.type)):
        return 0
    if not types.is_floating(column.type):
        return sum(map(count_not_finite, plain_values(column)))
    numbers = column.cast(pa.float64()) if types.is_float16(column.type) else column
    return pc.sum(pc.invert(pc.is_finite(numbers))).as_py() or 0


def _within(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yields a type and all types nested in it."""
    yield kind
    if types.is_dictionary(kind):
        yield from _within(kind.value_type)
    elif isinstance(kind, pa.BaseExtensionType):
        yield from _within(kind.storage_type)
    for number in range(kind.num_fields):
        yield from _within(kind.field(number).type)


def _nested(column: pa.Array) -> list[Any]:
    valid = column.is_valid().to_pylist()
    if types.is_struct(column.type):
        names = [field.name for field in column.type]
        rows = zip(valid, *map(plain_values, column.flatten()), strict=True)
        return [dict(zip(names, row, strict=True)) if there else None for there, *row in rows]
    if types.is_map(column.type):
        pairs = list(zip(plain_values(column.keys), plain_values(column.items), strict=True))
        ends = column.offsets.to_pylist()
        return [pairs[a:b] if there else None for there, a, b in zip(valid, ends, ends[1:], strict=False)]
    items = iter(plain_values(column.flatten()))
    return [None if size is None else list(islice(items, size)) for size in pc.list_value_length(column).to_pylist()]


def _leaves(column: pa.Array) -> list[Any]:
    kind = column.type
    if types.is_temporal(kind) and not types.is_interval(kind):
        column = _times(column)
    elif types.is_decimal(kind):
        column = column.cast(pa.string())
    elif types.is_float16(kind):
        column = column.cast(pa.float64())
    values: list[Any] = column.to_pylist()
    return (
        values
        if PLAIN.issuperset(map(type, values))
        else [value if type(value) in PLAIN else _text(value) for value in values]
    )


def _times(column: pa.Array) -> pa.Array:
    """Returns dates, times, timestamps and durations as text."""
    kind = column.type
    unit = "d" if types.is_date32(kind) else "ms" if types.is_date64(kind) else kind.unit
    stored = pa.int32() if kind.bit_width == 32 else pa.int64()
    numbers = column.view(stored)
    counted = pc.binary_join_element_wise(numbers.cast(pa.string()), unit, "")
    if types.is_duration(kind):
        return counted
    first, end = (0, 1) if types.is_time(kind) else (FIRST_DAY, END_DAY)
    low, high = max(first * TICKS[unit], -INT64 - 1), min(end * TICKS[unit] - 1, INT64)
    wide = numbers.cast(pa.int64())
    fits = pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))
    zone = types.is_timestamp(kind) and kind.tz
    shown = pc.if_else(fits, numbers, pa.scalar(None, stored)).view(pa.timestamp(unit) if zone else kind)
    shown = shown.cast(pa.string())
    return pc.coalesce(pc.binary_join_element_wise(shown, "Z", "") if zone else shown, counted)


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
