"""JSON whose numbers keep all of their digits, and in which NaN and infinities, which JSON lacks, are null."""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, Final

import orjson

#: Half of a surrogate pair, which is no character and fits no file.
_SURROGATES = re.compile("[\ud800-\udfff]")
#: The constants that Python writes and reads, and JSON lacks.
CONSTANTS = ("NaN", "Infinity")
#: The reason by which a value is counted that JSON cannot say.
NOT_FINITE: Final = "NaN or infinity"

#: Returns a value as JSON text on one line. Raises ValueError for NaN and infinities, TypeError for a `Digits`.
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Digits:
    """A number as it is written in JSON, of which no int or float of Python's keeps every digit."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digits) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Digits({self.text[:40]})"


def _number(text: str) -> float | Digits:
    """Returns the float that equals a number; its digits where none does, as for 1e999."""
    value = float(text)
    # Up to 15 digits are always exact, and checking them with repr would be slow.
    if (len(text) < 17 and "e" not in text and "E" not in text) or repr(value) == text:
        return value
    try:
        same = Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent of 18 digits
        same = False
    return value if same else Digits(text)


def _whole(text: str) -> int | Digits:
    """Returns a whole number, or its digits where it has more than Python converts."""
    try:
        return int(text)
    except ValueError:
        return Digits(text)


def decoder(on_constant: Callable[[str], None]) -> Callable[[str], Any]:
    """Returns a function that parses JSON exactly, which calls `on_constant` for each NaN and infinity.

    It raises json.JSONDecodeError and RecursionError. The last value of a repeated key counts.
    """
    fast = json.JSONDecoder(parse_float=_number, parse_constant=on_constant)
    # A function for whole numbers makes it slower.
    slow = json.JSONDecoder(parse_float=_number, parse_constant=on_constant, parse_int=_whole)

    def decode(text: str) -> Any:
        try:
            # `decode` would search for white space around the value, slowly.
            value, end = fast.raw_decode(text)
            return value if end == len(text) else fast.decode(text)
        except json.JSONDecodeError:
            return fast.decode(text)
        except ValueError:
            return slow.decode(text)

    return decode


def exact_text(value: Any) -> str:
    """Returns a value of a `decoder` as JSON text, with every number as exact as it was."""
    try:
        return json_text(value)
    except TypeError:  # a Digits somewhere in it, which is rare
        if type(value) is dict:
            return "{" + ",".join(f"{json_text(key)}:{exact_text(item)}" for key, item in value.items()) + "}"
        if type(value) is list:
            return "[" + ",".join(map(exact_text, value)) + "]"
        return value.text if isinstance(value, Digits) else json_text(value)


def strict_text(text: str) -> tuple[str, int]:
    """Returns a text of a JSON column as it may stand in a line of JSON Lines, and how many constants became null.

    That is the text itself, unless somebody has edited the file that it comes from: what is no JSON becomes a string.
    """
    try:
        orjson.loads(text)
    except ValueError:
        pass
    else:
        if "\n" not in text and "\r" not in text:
            return text, 0
    nulls: list[str] = []
    try:
        return exact_text(decoder(nulls.append)(text)), len(nulls)
    except (ValueError, RecursionError):
        return json_text(text), 0


def nearest_json(value: Any) -> tuple[str | None, int]:
    """Returns a value as JSON text, with null for each NaN and infinity in it, and how many these are.

    Returns None for a value that cannot be written at all.
    """
    nulls, value = 0, finite(value) if isinstance(value, float) else value
    if value is None:
        return None, 0
    try:
        try:
            text = json_text(value)
        except ValueError:
            text, nulls = json_text(finite(value)), count_not_finite(value)
    except (TypeError, ValueError, RecursionError):
        return None, 0
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text), nulls


def finite(value: Any) -> Any:
    """Returns a value of JSON with None for each NaN and infinity."""
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def count_not_finite(value: Any) -> int:
    """Returns how many NaNs and infinities `finite` replaces."""
    if isinstance(value, list | tuple):
        return sum(map(count_not_finite, value))
    if isinstance(value, dict):
        return sum(map(count_not_finite, value.values()))
    return isinstance(value, float) and not isfinite(value)
