"""The values of one field of a row: a field may hold several, and they may be numbers."""

import json
import math
from typing import Any, Final

#: Joins the values of a field that has several.
SEPARATOR: Final = "|"
#: float64 represents all whole numbers up to this one.
_EXACT: Final = 2**53


def split_values(value: Any) -> list[str]:
    """Returns the values of one field: text is split at SEPARATOR, lists are flat, null and NaN give none."""
    if isinstance(value, str):
        return [stripped for piece in value.split(SEPARATOR) if (stripped := piece.strip())]
    if isinstance(value, list | tuple):
        return [piece for item in value for piece in split_values(item)]
    return [] if value is None or (isinstance(value, float) and math.isnan(value)) else split_values(text_of(value))


def text_of(value: Any) -> str:
    """Returns a value as text, numbers and booleans as JSON writes them."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)  # pandas makes 10090 a 10090.0 if one row of the column is empty
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)
