"""Any bytes at all: a UserError of one line or records, the same at every split size, and an end."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Source
from stonkgs.source.csv import CsvSource
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]
#: The records, or the line that the user sees instead.
Outcome = list[Statement | Rejection] | str
FUZZ = settings(
    deadline=None, derandomize=True, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [*ROLES, "score"]


def table(mark: str, rows: list[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=mark, lineterminator="\n").writerows([NAMES, *rows])
    return out.getvalue().encode()


def lines(rows: list[list[str]]) -> bytes:
    return b"".join(json.dumps(dict(zip(NAMES, row, strict=True))).encode() + b"\n" for row in rows)


#: A source and what writes a whole file for it.
WRITERS: dict[str, tuple[Callable[..., Source], Callable[[list[list[str]]], bytes]]] = {
    "tsv": (TsvSource, lambda rows: table("\t", rows)),
    "plain": (lambda **given: TsvSource(quoting="none", **given), lambda rows: table("\t", rows)),
    "csv": (CsvSource, lambda rows: table(",", rows)),
    "jsonl": (JsonlSource, lines),
}
PACK: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
]

cells = st.text(st.sampled_from('ab,\t\n\r"\\é😀\0[{ ') | st.characters(codec="utf-8"), max_size=6)
rows = st.lists(st.lists(cells, min_size=4, max_size=4), max_size=8)
wild = st.binary(max_size=5) | st.sampled_from(
    [b'"', b"\n", b"\t", b",", b"\r\n", b"\xff", b"{", b"[", b"}", b"\0", b"x" * 50]
)
#: Where in a file, how many bytes of it go, and what comes there.
damage = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), wild), max_size=4)


def damaged(data: bytes, harm: list[tuple[float, int, bytes]]) -> bytes:
    for place, gone, new in harm:
        at = round(place * len(data))
        data = data[:at] + new + data[at + gone :]
    return data


def outcome(read: Read, source: Source, size: int) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stonkgs.source.text.records.SPLIT_BYTES", size)
        try:
            records = read(source, 1000)
        except UserError as error:
            return str(error)
    for record in records:
        assert isinstance(record, Rejection) or all(isinstance(getattr(record, role), str) for role in ROLES)
    return records


def check(read: Read, make: Callable[..., Source], path: Path, sizes: tuple[int, int], **given: Any) -> None:
    whole = outcome(read, make(path=str(path), **given), 1 << 20)
    for size in sizes:
        assert outcome(read, make(path=str(path), **given), size) == whole
    assert not isinstance(whole, str) or "\n" not in whole
    if isinstance(whole, list) and whole:
        limited = outcome(read, make(path=str(path), limit=2, **given), sizes[0])
        assert limited == whole[:2]


sizes = st.tuples(st.sampled_from([1, 2, 3, 7]), st.sampled_from([20, 50, 300]))
limits = st.sampled_from([9, 40, 100_000, 100_000])


@FUZZ
@given(st.sampled_from(sorted(WRITERS)), rows, damage, st.sampled_from(PACK), damage, sizes, limits)
def test_damaged_files(
    tmp_path: Path,
    read: Read,
    kind: str,
    rows: list[list[str]],
    inner: list[tuple[float, int, bytes]],
    pack: Callable[[bytes], bytes],
    outer: list[tuple[float, int, bytes]],
    sizes: tuple[int, int],
    max_record: int,
) -> None:
    make, write = WRITERS[kind]
    path = tmp_path / "rows"
    path.write_bytes(damaged(pack(damaged(write(rows), inner)), outer if pack is not bytes else []))
    check(read, make, path, sizes, max_record=max_record)


@FUZZ
@given(
    st.sampled_from(sorted(WRITERS)),
    st.booleans(),
    st.binary(max_size=200) | st.lists(wild, max_size=40).map(b"".join),
    st.sampled_from(PACK),
    sizes,
    limits,
)
def test_any_bytes(
    tmp_path: Path,
    read: Read,
    kind: str,
    headed: bool,
    body: bytes,
    pack: Callable[[bytes], bytes],
    sizes: tuple[int, int],
    max_record: int,
) -> None:
    make, write = WRITERS[kind]
    path = tmp_path / "rows"
    path.write_bytes(pack(write([["s", "t", "e", "1"]] if headed else []) * headed + body))
    check(read, make, path, sizes, max_record=max_record)
