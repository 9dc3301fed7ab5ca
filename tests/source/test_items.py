"""Where items lie in arrays and objects, sound and broken, whatever the window and the splits."""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, containers, extents, past
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.items import BETWEEN, CUT_SHORT, LOST, Items

FUZZ = settings(
    deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LIMIT = 200
LONG = f"record of over {LIMIT} bytes"


class Found(NamedTuple):
    offset: int
    number: int
    raw: bytes
    problem: str | None


def scan(path: Path, data: bytes, step: int = END, block: int = 1 << 18, limit: int = LIMIT) -> list[Found]:
    """What an array's or object's splits of `step` bytes give, through a window of `block` bytes."""
    path.write_bytes(data)
    kind = data[:1].decode()
    found, above = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stonkgs.source.text.cursor.BLOCK", block)
        patch.setattr("stonkgs.source.text.items.BLOCK", block)
        scanner = Items(str(path), limit, Container(kind, 1, outermost=kind == "["))
        ranges = [(1, END)] if step == END else scanner.ranges(1, step).tolist()
        assert all(before[1] == after[0] for before, after in pairwise(ranges))
        for start, stop in ranges:
            records = list(scanner.records(start, stop))
            assert all(start <= record.offset < stop for record in records)
            found += [Found(offset, line + above, raw, problem) for offset, line, raw, problem in records]
            above += scanner.lines
        scanner.close()
    return found


def always(path: Path, data: bytes, limit: int = LIMIT) -> list[Found]:
    """The same for every split and window."""
    whole = scan(path, data, limit=limit)
    assert [found.number for found in whole] == list(range(len(whole)))
    for step, block in ((END, 1), (END, 13), (1, 13), (1, 1 << 18), (7, 1 << 18), (64, 1)):
        assert scan(path, data, step, block, limit) == whole, (step, block)
    return whole


def item(name: str) -> bytes:
    return json.dumps({"type": name, "text": 'a "}" [\\', "evidence": [{"a": {}}]}).encode()


A, B, C = map(item, "abc")


@pytest.mark.parametrize("space", [b"", b" ", b"\n\t ", b"\r\n"])
@pytest.mark.parametrize("kind", ["[", "{"])
def test_sound_items(tmp_path: Path, space: bytes, kind: str) -> None:
    keys = [b'"-1"' + space + b":" + space, b'"a]\\" {":', b'"":'] if kind == "{" else [b""] * 3
    middle = (space + b"," + space).join(key + one for key, one in zip(keys, (A, B, C), strict=True))
    close = b"]" if kind == "[" else b"}"
    data = kind.encode() + space + middle + space + close + space
    found = always(tmp_path / "x", data)
    assert [(one.raw, one.problem) for one in found] == [(A, None), (B, None), (C, None)]
    assert [data[one.offset : one.offset + len(one.raw)] for one in found] == [A, B, C]


@pytest.mark.parametrize("data", [b"[]", b"{}", b"[ \n]\n", b"[,]", b"{ }"])
def test_no_items(tmp_path: Path, data: bytes) -> None:
    assert always(tmp_path / "x", data) == []


#: What stands around and between the sound items A and B, and what is told of it: none of it costs an item.
TOLD = {
    "null": (b"[%s, null, %s]", [(b"null", BETWEEN)]),
    "number, string, NaN": (
        b'[%s,1 ,"a,{[b\\"", NaN,%s]',
        [(b"1", BETWEEN), (b'"a,{[b\\""', BETWEEN), (b"NaN", BETWEEN)],
    ),
    "junk": (b"[%s, what is this, %s]", [(b"what is this", BETWEEN)]),
    "trailing comma": (b"[%s,%s,]", []),
    "no comma": (b"[%s %s]", []),
    "cut short between": (b"[%s,%s", [(b"", CUT_SHORT)]),
    "cut short in a value": (b"[%s,%s, nul", [(b"nul", BETWEEN), (b"", CUT_SHORT)]),
    "cut short in an item": (b'[%s,%s,{"type":"x", "y', [(b'{"type":"x", "y', LOST)]),
    "over max_record": (
        b"[%s," + b'{"type":"' + b"x\\\\" * 100 + b'"},%s]',
        [(b'{"type":"x', LONG)],
    ),
    "deep and over max_record": (
        b"[%s," + b"[" * 150 + b"]" * 150 + b",%s]",
        [(b"[[[", LONG)],
    ),
    "two arrays": (b"[%s,%s]\n[1]\n", [(b"]", LOST)]),
    "something behind it": (b"[%s,%s] x", [(b"]", LOST)]),
    "object, number": (b'{"1":%s,"2":2, "3" : %s}', [(b'"2":2', BETWEEN)]),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_is_told_costs_no_item(tmp_path: Path, case: str) -> None:
    form, wanted = TOLD[case]
    data = form % (A, B)
    found = always(tmp_path / "x", data)
    assert [one.raw for one in found if one.problem is None] == [A, B]
    told = [one for one in found if one.problem is not None]
    assert [one.problem for one in told] == [problem for _, problem in wanted]
    for one, (start, _) in zip(told, wanted, strict=True):
        assert one.raw.startswith(start)
        assert data[one.offset :].startswith(start)


#: Behind the sound item A the brackets do not match: where the rest starts that is one rejection.
LOSSES = {
    "stray quote": (b'[%s,{"type":"a"b"},%s]', b'{"type":"a"b"}'),
    "missing brace": (b'[%s,{"type":"a","b":{"c":1},%s]', b'{"type":"a","b"'),
    "missing opening brace": (b'[%s,"type":"a"},%s]', b'"type":"a"}'),
    "a brace too many": (b"[%s},%s]", b"},{"),
    "a bracket too many": (b"[%s],%s]", b"],{"),
    "another kind of bracket": (b'[%s,{"a":1],%s]', b'{"a":1],'),
    "long junk": (b"[%s," + b"x" * 300 + b",{},%s]", b"xxx"),
    "an item without an end": (b"[%s," + b'{"type":"' + b"x" * 300 + b",%s]", b'{"type":"xxx'),
    "object, brace too many": (b'{"1":%s},"2":%s}', None),
    "object, another bracket": (b'{"1":%s],"2":%s}', b"],"),
    "object, stray quote": (b'{"1":%s,"2":{"type":"a"b"},"-3":%s}', b'{"type":"a"b"}'),
}


@pytest.mark.parametrize("case", LOSSES)
def test_where_brackets_are_lost_the_rest_is_one_rejection(tmp_path: Path, case: str) -> None:
    form, rest = LOSSES[case]
    data = form % (A, b'{"type":"d"}')
    first, *others = always(tmp_path / "x", data)
    assert (first.raw, first.problem) == (A, None)
    if rest is None:  # the container is closed, and it may stand in another object
        assert others == []
        return
    (lost,) = others
    assert lost.problem == LOST
    assert lost.raw.startswith(rest)
    assert data[lost.offset :].startswith(rest)


def test_megabytes_between_two_items(tmp_path: Path) -> None:
    data = b"[%s, %s, %s]" % (A, b"x" * (3 << 20), B)
    found = scan(tmp_path / "x", data, limit=1 << 22)
    assert [one.problem for one in found] == [None, BETWEEN, None]
    assert scan(tmp_path / "x", data, 1 << 20, 1 << 18, 1 << 22) == found


def test_an_item_that_is_a_value_deep_in_brackets_is_one(tmp_path: Path) -> None:
    deep = b"[" * 90 + b"]" * 90
    assert [one.raw for one in always(tmp_path / "x", b"[%s,%s,%s]" % (A, deep, B))] == [A, deep, B]


PIECES = b'{} , ] } { [ " \\ \\" {"type": 1 "k": },{"type":"s" "type":"u"'.split()
pieces = st.sampled_from([A, B, b" ", b'] {"type":"t]"', b"x" * 210, b" " * 210, b"{" + b" " * 130, *PIECES])


@FUZZ
@given(st.lists(pieces, max_size=15), st.sampled_from([b"[", b"{"]), st.integers(1, 300), st.sampled_from([1, 40, 500]))
def test_anything_reads_alike_in_any_splits(
    tmp_path: Path, parts: list[bytes], kind: bytes, step: int, block: int
) -> None:
    data = kind + b"".join(parts)
    whole = scan(tmp_path / "x", data)
    assert scan(tmp_path / "x", data, step, block) == whole
    assert [one.offset for one in whole] == sorted({one.offset for one in whole})


def test_extents_depend_on_what_is_before_them_alone() -> None:
    data = b'%s , %s,{"a": 1} ] {}' % (A, B)
    whole = extents(data)
    assert whole.close == data.rindex(b"]")
    assert [data[start:end] for start, end in zip(whole.starts, whole.ends, strict=True)] == [A, B, b'{"a": 1}']
    for size in range(len(data)):
        part = extents(data[:size])
        ends = [end for end in whole.ends.tolist() if end <= size]
        assert part.ends.tolist() == ends
        assert part.close == (whole.close if size > whole.close else None)
        assert part.starts.tolist() == [start for start in whole.starts.tolist() if start < size]


@pytest.mark.parametrize("block", [1, 5, 1 << 18])
def test_an_objects_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("stonkgs.source.text.cursor.BLOCK", block)
    data = b' {"a": 1, "b\\"{": {"x": [{}, "]"]}, "c":null,"d": [ [], 1], "e" : "f", "": {} } {"g": 1}'
    (tmp_path / "x").write_bytes(data)
    cursor = Cursor(str(tmp_path / "x"))
    found = list(containers(cursor, 1, 1000))
    cursor.close()
    assert [(key, container and container.kind) for key, container in found] == [
        ("a", None), ('b\\"{', "{"), ("c", None), ("d", "["), ("e", None), ("", "{")
    ]  # fmt: skip
    assert [data[one.start - 1 : one.start + 2] for _, one in found if one] == [b'{"x', b"[ [", b"{} "]


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_the_end_of_a_value_is_found_however_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("stonkgs.source.text.cursor.BLOCK", block)
    value = b'{"a": "\\\\\\"}", "b": [{"c": "]]"}, "\\\\"]}'
    for data, inside in ((b"x " + value + b"}]", 0), (b"x " + value[1:] + b"}]", 1)):
        (tmp_path / "x").write_bytes(data)
        cursor = Cursor(str(tmp_path / "x"))
        assert past(cursor, 2, inside) == len(data) - 2
        assert past(cursor, 2, inside + 9) is None
        cursor.close()
