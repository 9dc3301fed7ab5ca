"""Checks of the types of values in JSON, which raise UnusableError and say what was found instead."""

import re
import reprlib
from collections.abc import Mapping
from math import isfinite
from typing import Any

from stonkgs.statement import UnusableError

_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
#: The range of whole numbers of 64 bits.
LEAST, MOST = -(2**63), 2**63 - 1
#: A float holds every whole number up to here.
EXACT = 2**53
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}")

#: Half of a surrogate pair, which is no character.
_SURROGATES = re.compile("[\ud800-\udfff]")

_repr = reprlib.Repr()
_repr.maxstring = 80
#: Returns a value for a message. It comes from a file, so it may be long and have any characters.
shown = _repr.repr


def described(value: Any) -> str:
    """Returns what kind of value it is, for a message: `a list`, `null`."""
    if value is None:
        return "null"
    return next((word for kind, word in _WORDS.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def is_nan(value: Any) -> bool:
    """Returns whether this is NaN, which stands for null where a table was made into JSON."""
    return isinstance(value, float) and value != value  # noqa: PLR0124  # true of NaN alone


def text(holder: Mapping[str, Any], key: str) -> str | None:
    """Returns the text under a key, None where it is null or absent. Raises UnusableError for anything else."""
    value = holder.get(key)
    if value is None or isinstance(value, str):
        return value
    if is_nan(value):
        return None
    raise UnusableError(f"{key} is {described(value)}, not a text")


def truth(holder: Mapping[str, Any], key: str) -> bool:
    """Returns the boolean under a key, True where it is null or absent. Raises UnusableError for anything else."""
    value = holder.get(key)
    if value is None or isinstance(value, bool) or is_nan(value):
        return value is not False
    raise UnusableError(f"{key} is {described(value)}, not true or false")


def items(holder: Mapping[str, Any], key: str) -> list[Any]:
    """Returns the list under a key, empty where it is null or absent. Raises UnusableError for anything else."""
    value = holder.get(key)
    if value is None or is_nan(value):
        return []
    if isinstance(value, list):
        return value
    raise UnusableError(f"{key} is {described(value)}, not a list")


def mapping(holder: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Returns the object under a key, None where it is null or absent. Raises UnusableError for anything else."""
    value = holder.get(key)
    if value is None or isinstance(value, dict):
        return value
    if is_nan(value):
        return None
    raise UnusableError(f"{key} is {described(value)}, not an object")


def whole(value: Any) -> int | None:
    """Returns a whole number of 64 bits, from itself, from its digits or from a float; None for anything else.

    A float beyond EXACT is none: it may stand for several whole numbers.
    """
    digits = type(value) is str and _DIGITS.fullmatch(value)
    if digits or (type(value) is float and abs(value) <= EXACT and value.is_integer()):
        value = int(value)
    return value if type(value) is int and LEAST <= value <= MOST else None


def finite_number(value: Any) -> float | None:
    """Returns a finite number, from itself or from its digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def text_or_digits(value: Any) -> str | None:
    """Returns a text, or the digits of a whole number; None for anything else and for what no file can hold."""
    if isinstance(value, str):
        return value if is_writable(value) else None
    found = whole(value)
    return None if found is None else str(found)


def is_writable(value: str) -> bool:
    """Returns whether a text has no half of a surrogate pair, which no file can hold."""
    return value.isascii() or not _SURROGATES.search(value)


def check_characters(value: str, what: str) -> None:
    """Raises UnusableError where a text has half a surrogate pair, which no file can hold. `what` names the text."""
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ord(value[error.start])
        raise UnusableError(f"{what} has half a surrogate pair, \\u{half:04x}, which is no character") from error
