"""The JSON of one statement: what is read, and what is refused whatever its size."""

import json

import pytest

from stonkgs.source.text.json_value import DEPTH, parse_json, parse_json_fast
from stonkgs.source.text.records import RawRecord
from stonkgs.statement import UnusableError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * DEPTH + "]" * DEPTH, True),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), False),
        (json.dumps("[" * 999 + '"\\'), True),
        ("[" + "{}," * 999 + "{}]", True),
        ('{"a":' * DEPTH + "1" + "}" * DEPTH, True),
        ('{"a":' * 100_000, False),
        ("[{" * 4_000_000 + "}]" * 4_000_000, False),
    ],
)
def test_depth(text: str, value: bool) -> None:
    if value:
        assert parse_json(text) == json.loads(text)
        return
    with pytest.raises(UnusableError, match="nested more than 200 deep"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid JSON: Expecting value at character 1"),
    ],
)
def test_what_says_nothing(text: str, reason: str) -> None:
    with pytest.raises(UnusableError, match=reason):
        parse_json(text)


def test_what_only_some_parsers_read() -> None:
    assert parse_json('[Infinity, 18446744073709551617, "\\ud83d\\ude00", "\\ud800"]') == [
        float("inf"),
        2**64 + 1,
        "😀",
        "\ud800",
    ]


def test_what_need_not_be_exact() -> None:
    assert parse_json_fast(RawRecord(0, 0, b'{"a": [1, 2.5, "\\u00e4", null, 9223372036854775807]}')) == {
        "a": [1, 2.5, "ä", None, 2**63 - 1]
    }
    assert str(parse_json_fast(RawRecord(0, 0, b"[NaN, -Infinity]"))) == "[nan, -inf]"
    assert parse_json_fast(RawRecord(0, 0, b'"\\ud800"')) == "\ud800"
    assert parse_json_fast(RawRecord(0, 0, b'{"a": -%s}' % (b"1" * 5000))) == {"a": float("-inf")}
    with pytest.raises(UnusableError, match="invalid JSON: Expecting property name"):
        parse_json_fast(RawRecord(0, 0, b"{"))
