"""The text of one JSON value, from a file that may hold anything."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from stonkgs.source.text.brackets import deepest
from stonkgs.source.text.records import Record, decoded
from stonkgs.statement import UnusableError

#: Deeper values are refused. Python's own limit moves with the caller's stack, and so between two runs.
DEPTH = 200
TOO_DEEP = f"nested more than {DEPTH} deep"
#: Half a surrogate pair is no character; only an escape can hold one.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def quickly(record: Record) -> Any:
    """What `parsed` gives of an INDRA statement, in less than half of the time.

    The library that is quick makes floats of whole numbers of more than 64 bits. Outside a context such numbers are
    unusable anyway; a key may have escapes.
    """
    raw = record.raw
    deep = raw.count(b"[") + raw.count(b"{") > DEPTH and deepest(raw) > DEPTH
    if not (record.problem or deep or b'"context"' in raw or b"\\u00" in raw):
        with suppress(orjson.JSONDecodeError):  # `parsed` says what is wrong, and reads NaN
            return orjson.loads(raw)
    return parsed(decoded(record))


def parsed(text: str) -> Any:
    """What JSON says, NaN and all; UnusableError where it says nothing that can be used."""
    if text.count("[") + text.count("{") > DEPTH and deepest(text.encode()) > DEPTH:
        raise UnusableError(TOO_DEEP)
    value = told(text, json.loads)
    if "\\" in text and _SURROGATE.search(text):
        check_surrogates(json.dumps(value, ensure_ascii=False))
    return value


def told(text: str, decode: Callable[[str], Any]) -> Any:
    """What a decoder makes of a text, its errors in our words."""
    try:
        return decode(text)
    except json.JSONDecodeError as error:
        raise UnusableError(f"invalid JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise UnusableError(TOO_DEEP) from error
    except ValueError as error:
        raise UnusableError("a number of more digits than can be read") from error


def check_surrogates(text: str) -> None:
    """UnusableError where a value, written without escapes, has half a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise UnusableError(f"half a surrogate pair, \\u{half:04x}, is no character") from error
