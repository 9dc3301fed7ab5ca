"""Parses JSON from files that may hold anything, and explains what is wrong with it."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from stonkgs.source.text.brackets import deepest
from stonkgs.source.text.records import RawRecord, decoded
from stonkgs.statement import UnusableError

#: The most levels of nesting. Python's own limit depends on the caller's stack, so it would differ between runs.
DEPTH = 200
TOO_DEEP = f"nested more than {DEPTH} deep"


def parse_json_fast(record: RawRecord) -> Any:
    """Returns what `parse_json` does for an INDRA statement, in less than half of the time. Raises UnusableError.

    It uses orjson, which makes floats of whole numbers beyond 64 bits. Only in a context are such numbers of use, so a
    record that has one, or whose keys may have escapes, is left to `parse_json`.
    """
    raw = record.raw
    deep = raw.count(b"[") + raw.count(b"{") > DEPTH and deepest(raw) > DEPTH
    escaped = b"\\" in raw and b"\\u00" in raw  # most records have no backslash, which is found out faster
    if not (record.problem or deep or escaped or b'"context"' in raw):
        with suppress(orjson.JSONDecodeError):  # `parse_json` reads NaN and halves of pairs, and explains errors
            return orjson.loads(raw)
    return parse_json(decoded(record))


def parse_json(text: str) -> Any:
    """Returns a JSON value. Raises UnusableError where it cannot be used.

    NaN, Infinity, huge numbers and halves of surrogate pairs are admitted: they may lie beside a sound sentence.
    """
    if is_too_deep(text):
        raise UnusableError(TOO_DEEP)
    return decode_json(text, _loads)


def _loads(text: str) -> Any:
    """Returns a JSON value; infinity for a whole number of more digits than Python converts."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=float)


def is_too_deep(text: str) -> bool:
    """Returns whether JSON is nested deeper than DEPTH."""
    return text.count("[") + text.count("{") > DEPTH and deepest(text.encode()) > DEPTH


def decode_json(text: str, decode: Callable[[str], Any]) -> Any:
    """Returns what a decoder makes of a text. Raises its errors as UnusableError, in words for the user."""
    try:
        return decode(text)
    except json.JSONDecodeError as error:
        raise UnusableError(f"invalid JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise UnusableError(TOO_DEEP) from error


def check_surrogates(text: str) -> None:
    """Raises UnusableError where JSON text without escapes has half a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise UnusableError(f"half a surrogate pair, \\u{half:04x}, is no character") from error
