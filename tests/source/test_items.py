"""Where items lie in arrays and objects, sound and broken, whatever the window and the splits."""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, containers, extents
from stonkgs.source.text.items import _OVERLAP, Items
from stonkgs.source.text.records import Cursor

FUZZ = settings(
    deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LIMIT = 200
BAD = "not an object, but what stands between two items"


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
        patch.setattr("stonkgs.source.text.records.BLOCK", block)
        patch.setattr("stonkgs.source.text.items._AHEAD", block)
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
    for step in (END, 1, 7, 64):
        for block in (1, 13, 1 << 18):
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


CASES = {
    "null": (b"[%s, null, %s]", [b"null"]),
    "number, string, NaN": (b'[%s,1 ,"a,{[b\\"", NaN,%s]', [b"1", b'"a,{[b\\""', b"NaN"]),
    "junk": (b"[%s, what is this, %s]", [b"what is this"]),
    "trailing comma": (b"[%s,%s,]", []),
    "no comma": (b"[%s %s]", []),
    "stray quote": (b'[%s,{"type":"a"b"},%s]', [b'{"type":"a"b"}']),
    "missing brace": (b'[%s,{"type":"a","b":{"c":1},%s]', [b'{"type":"a","b"']),
    "missing opening brace": (b'[%s,"type":"a"},%s]', [b'"type":"a"', b"}"]),
    "a brace too many": (b"[%s},%s]", [b"}"]),
    "a bracket too many": (b"[%s],%s]", [b"]"]),
    "two arrays": (b"[%s]\n[%s]\n", [b"]"]),
    "cut short between": (b"[%s,%s", [b""]),
    "cut short in an item": (b'[%s,%s,{"type":"x", "y', [b'{"type":"x", "y']),
    "cut short in a value": (b"[%s,%s, nul", [b"nul", b""]),
    "over max_record": (b"[%s," + b'{"type":"' + b"x" * 300 + b'"},%s]', [b'{"type":"xxx']),
    "long junk": (b"[%s," + b"x" * 300 + b",{},%s]", [b",xxx"]),
    "object, brace too many": (b'{"1":%s},"2":%s}', [b"}"]),
    "object, stray quote": (b'{"1":%s,"2":{"type":"a"b"},"-3":%s}', [b'{"type":"a"b"}']),
    "object, number": (b'{"1":%s,"2":2, "3" : %s}', [b'"2":2']),
}


@pytest.mark.parametrize("case", CASES)
def test_neighbours_of_what_is_broken_survive(tmp_path: Path, case: str) -> None:
    form, problems = CASES[case]
    data = form % (A, B)
    found = always(tmp_path / "x", data)
    assert [one.raw for one in found if one.problem is None and one.raw != b"{}"] == [A, B]
    told = [one for one in found if one.problem is not None]
    assert len(told) == len(problems)
    for one, start in zip(told, problems, strict=True):
        assert one.raw.startswith(start)
        assert data[one.offset :].startswith(start)


def test_a_stray_quote_with_brackets_behind_it_costs_no_neighbour(tmp_path: Path) -> None:
    data = b'[%s,{"type":"a"b } c", "d": [1, {"e": "]"}]},%s]' % (A, B)
    _, *broken, _ = found = always(tmp_path / "x", data)
    assert [found[0].raw, found[-1].raw] == [A, B]
    assert broken[0].raw == b'{"type":"a"b }'  # no JSON, as whoever reads it will find
    assert all(one.problem for one in broken[1:])


def test_megabytes_between_two_items(tmp_path: Path) -> None:
    data = b"[%s, %s, %s]" % (A, b"x" * (3 << 20), B)
    found = scan(tmp_path / "x", data, limit=1 << 22)
    assert [one.problem for one in found] == [None, BAD, None]
    assert scan(tmp_path / "x", data, 1 << 20, 1 << 18, 1 << 22) == found


def test_an_item_that_is_a_value_deep_in_brackets_is_one(tmp_path: Path) -> None:
    deep = b"[" * 90 + b"]" * 90
    assert [one.raw for one in always(tmp_path / "x", b"[%s,%s,%s]" % (A, deep, B))] == [A, deep, B]


@FUZZ
@given(
    st.lists(st.sampled_from([A, B, C, A + b"]", b"{}", A.replace(b'"c"', b'"t":"x"'), b'{"type":"s"t"}']), max_size=9),
    st.sampled_from([b",", b", ", b"\n,\t", b" ", b",,", b", 1,"]),
    st.sampled_from([b"", b" ", b",", b"x"]),
)
def test_many_at_once_are_found_as_one_by_one(tmp_path: Path, items: list[bytes], comma: bytes, before: bytes) -> None:
    data = b"[" + before + comma.join(items) + b"]"
    found = scan(tmp_path / "x", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Items, "_alike", lambda *_: False)
        assert scan(tmp_path / "x", data) == found


def test_an_item_swallowed_behind_white_space_is_found(tmp_path: Path) -> None:
    data = b'[%s,{%s"a":{"b":1}, %s]' % (A, b" " * 130, B)
    whole = scan(tmp_path / "x", data, limit=_OVERLAP)
    assert [one.raw for one in whole if one.problem is None] == [A, B]
    assert scan(tmp_path / "x", data, step=1, limit=_OVERLAP) == whole


def test_a_backslash_between_items_escapes_alike_for_all(tmp_path: Path) -> None:
    data = b'[%s, \\"", %s, {"a": 1}]' % (A, B)
    for items in (data, data.replace(b'"type"', b'"kind"')):
        whole = scan(tmp_path / "x", items)
        assert all(scan(tmp_path / "x", items, step) == whole for step in (1, 7, 40))


def test_thousands_of_broken_items(tmp_path: Path) -> None:
    data = b"[%s]" % b",".join([A, b'{"type":"a"b"}'] * 4000)
    found = scan(tmp_path / "x", data)
    assert [one.problem is None for one in found] == [True, False] * 4000


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


@FUZZ
@given(st.lists(pieces | st.just(b" " * 9000), max_size=15), st.integers(1, 300), st.sampled_from([1, 40, 500]))
def test_items_that_are_told_by_how_they_begin_are_items(
    tmp_path: Path, parts: list[bytes], step: int, block: int
) -> None:
    data = b"[" + b"".join(parts)
    whole = scan(tmp_path / "x", data, limit=_OVERLAP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Items, "_told", lambda *_: True)  # also where there are few of them
        assert scan(tmp_path / "x", data, step, block, limit=_OVERLAP) == whole


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
        opened = [start for start in whole.starts.tolist() if start < size]
        assert part.open == (opened[-1] if len(opened) > len(ends) else None)


@pytest.mark.parametrize("block", [1, 5, 1 << 18])
def test_an_objects_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    for module in ("text.records", "text.brackets"):
        monkeypatch.setattr(f"stonkgs.source.{module}.BLOCK", block)
    data = b' {"a": 1, "b\\"{": {"x": [{}, "]"]}, "c":null,"d": [ [], 1], "e" : "f", "": {} } {"g": 1}'
    (tmp_path / "x").write_bytes(data)
    cursor = Cursor(str(tmp_path / "x"))
    found = list(containers(cursor, 1, 1000))
    cursor.close()
    assert [(key, container and container.kind) for key, container in found] == [
        ("a", None), ('b\\"{', "{"), ("c", None), ("d", "["), ("e", None), ("", "{")
    ]  # fmt: skip
    assert [data[one.start - 1 : one.start + 2] for _, one in found if one] == [b'{"x', b"[ [", b"{} "]
