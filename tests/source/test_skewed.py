"""Files whose first megabyte is unlike the rest: no split has many more records than were asked for."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stonkgs.source.bel import BelSource
from stonkgs.source.csv import CsvSource
from stonkgs.source.indra import IndraSource
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.split import END, MOST
from stonkgs.source.text import starts as starts_module
from stonkgs.source.text.starts import bounded_ranges, line_ends
from stonkgs.source.tsv import TsvSource

HEADER = b"source\ttarget\tevidence\n"
LONG = b"s\tt\t" + b"e" * 100_000 + b"\n"
ROWS, SHORT = 100, 30_000
EDGE = {"source": {"bel": "a"}, "target": {"bel": "b"}, "relation": "r"}


def lines(long: bytes, short: bytes) -> bytes:
    return long * 12 + short * SHORT


def table(long: bytes, short: bytes) -> bytes:
    return HEADER + lines(long, short)


def array(text_of: Callable[[int], Any]) -> bytes:
    return json.dumps([text_of(100_000)] * 12 + [text_of(1)] * SHORT).encode()


def edge(length: int) -> dict[str, Any]:
    return {**EDGE, "evidence": "e" * length}


def nodelink() -> bytes:
    links = [{"relation": "r", "source": 0, "target": 1, "evidence": "e" * n} for n in [100_000] * 12 + [1] * SHORT]
    return json.dumps({"nodes": [{"bel": "a"}, {"bel": "b"}], "links": links}).encode()


QUOTED = b's\tt\t"a\nb ""c"" ' + b"e" * 100_000 + b'"\n'
FILES: dict[str, tuple[Callable[..., Any], bytes]] = {
    "bad lines": (TsvSource, table(LONG, b"x\n")),
    "bad lines, without quotes": (lambda path: TsvSource(path=path, quoting="none"), table(LONG, b"x\n")),
    "good lines": (TsvSource, table(LONG, b"a\tb\t\n")),
    "quoted ones": (TsvSource, table(QUOTED, b'a\t"b"\tc\n')),
    "quoted lines": (TsvSource, table(LONG, b'a\t"b\n\n"\tc\n')),
    "lone quotes": (TsvSource, table(LONG, b'a"\n')),
    "blank ones between": (TsvSource, table(LONG, b"x\n\n\r\n")),
    "crlf": (TsvSource, table(LONG.replace(b"\n", b"\r\n"), b"x\r\n")),
    "gzip": (TsvSource, gzip.compress(table(LONG, b"x\n"), 1)),
    "csv": (CsvSource, table(LONG, b"x\n").replace(b"\t", b",")),
    "jsonl": (JsonlSource, lines(b'{"source": "' + b"s" * 100_000 + b'", "target": "", "evidence": ""}\n', b"{}\n")),
    "indra": (IndraSource, array(lambda length: {"type": "A" * length})),
    "indra lines": (IndraSource, lines(b'{"type": "' + b"A" * 100_000 + b'"}\n', b"{}\n")),
    "nodelink": (BelSource, nodelink()),
    "sbel": (BelSource, lines(json.dumps(edge(100_000)).encode() + b"\n", b"{}\n")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_split_has_a_bound_in_records(tmp_path: Path, name: str) -> None:
    kind, content = FILES[name]
    path = tmp_path / "rows"
    path.write_bytes(content)
    source = kind(path=str(path))
    reader = source.reader(source.plan(ROWS))
    counts = [sum(1 for _ in source.scan(str(path)).records(split.start, split.stop)) for split in reader.plan]
    assert sum(counts) == 12 + SHORT
    assert max(counts) <= MOST * ROWS
    assert len(counts) < 5 * SHORT / ROWS, "and not many have few"


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    """A gigabyte of them is no million splits."""
    path = tmp_path / "rows.tsv"
    path.write_bytes(table(LONG, b"") + b"\n" * 1_000_000 + b"\r\n" * 1_000_000 + b"a\tb\tc\n")
    for quoting in ("none", "csv"):
        assert len(TsvSource(path=str(path), quoting=quoting).plan(ROWS)) < 20


def test_an_even_file_is_cut_as_its_first_records_say(tmp_path: Path) -> None:
    """The bound changes nothing there: splits of equal bytes."""
    path = tmp_path / "rows.tsv"
    path.write_bytes(HEADER + b"".join(b"s\tt\t%s\n" % (b"e" * (7 * n % 90)) for n in range(30_000)))
    plan = TsvSource(path=str(path), quoting="none").plan(ROWS)
    sizes = {split.stop - split.start for split in plan}
    assert len(sizes) <= 2
    assert 290 < len(plan) < 310


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r", b"bb\n"]), max_size=60).map(b"".join),
    st.integers(0, 3),
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(1, 30),
)
def test_ranges_of_lines(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, first: int, step: int, most: int, block: int
) -> None:
    """Without a gap, none too long in bytes or in lines, for any block in which the file is read."""
    data = (b"x" * (first - 1) + b"\n" if first else b"") + data
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starts_module, "BLOCK", block)
        cut = bounded_ranges(str(path), first, step, END if block % 2 else len(data), most).tolist()
    assert [first, *(stop for _, stop in cut)] == [*(start for start, _ in cut), max(len(data), first)]
    starts = [n for n in range(first, len(data)) if n == 0 or data[n - 1 : n] == b"\n"]
    real = [n for n in starts if data[n:].split(b"\n")[0] not in (b"", b"\r")]
    assert all(stop - start <= step and sum(start <= n < stop for n in real) <= most for start, stop in cut)


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n"]), max_size=40).map(b"".join))
def test_ends_of_lines(data: bytes) -> None:
    ends, place = [], 0
    for line in data.split(b"\n")[:-1]:
        place += len(line) + 1
        if line not in (b"", b"\r"):
            ends.append(place)
    assert line_ends(data).tolist() == ends
