"""What people give by mistake: one line that says what it is, where, and what to do; and bounded memory."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from text_files import STARTS, Read, Text, each, refusal, written, zstd

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.csv import CsvSource
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.parquet import ParquetSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement


@each
def test_a_directory_and_an_empty_file(tmp_path: Path, read: Read, kind: Text) -> None:
    assert refusal(kind(path=str(tmp_path))).startswith(f"{tmp_path}: is a directory; name its files, for example ")
    for name, data in (("plain", b""), ("blank", b"\r\n\n"), ("gzip", gzip.compress(b"")), ("zstd", zstd(b""))):
        path = written(tmp_path, data, name)
        if kind is JsonlSource:  # a night without news; no header is missing
            assert read(kind(path=path), 9) == []
        else:
            assert refusal(kind(path=path)) == f"{path}: is empty; its first line has to give the columns' names"


@each
@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_cut_packed_file(tmp_path: Path, kind: Text, pack: Callable[[bytes], bytes]) -> None:
    start, row = STARTS[kind]
    body = b"".join(row.replace(b"S", os.urandom(8).hex().encode()) for _ in range(40_000))
    data = pack(start + body)
    path = written(tmp_path, data[: len(data) // 2])
    name = "gzip" if pack is gzip.compress else "zstd"
    found = refusal(kind(path=path))
    assert found.startswith(f"{path}: its {name} data is cut short or damaged (")
    assert found.endswith("); fetch it again")


@each
def test_a_limit_needs_no_more_than_the_start_of_the_file(tmp_path: Path, read: Read, kind: Text) -> None:
    start, row = STARTS[kind]
    body = b"".join(row.replace(b"S", os.urandom(16).hex().encode()) for _ in range(60_000))
    for pack in (gzip.compress, zstd):
        data = pack(start + body)
        path = written(tmp_path, data[: len(data) - 9])  # whoever reads it to its end, fails
        assert "cut short or damaged" in refusal(kind(path=path))
        source = kind(path=path, limit=100)
        assert len(read(source, 16)) == 100
        plan = source.plan(16)
        assert (plan.rows, 5 < len(plan) < 9) == (100, True)


@each
def test_a_limit_counts_what_is_rejected_and_stops_at_a_huge_line(tmp_path: Path, read: Read, kind: Text) -> None:
    start, row = STARTS[kind]
    data = gzip.compress(start + b"bad\n" + row + b"\n" + row.replace(b"E", b"x" * 3_000_000) + row)
    # JSONL takes its columns from further records than these.
    path = written(tmp_path, data if kind is JsonlSource else data[:-9])
    kinds = [type(record) for record in read(kind(path=path, limit=3, max_record=999), 9)]
    assert kinds == [Rejection, Statement, Rejection]


@each
def test_a_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Text) -> None:
    start, row = STARTS[kind]
    bomb = start + row * 999 + b"x" * (64 << 20)
    path = written(tmp_path, gzip.compress(bomb))
    message = (
        f"{path}: its gzip data unpacks to more than 250 times its size, as no text does; "
        "if you trust it, unpack it yourself"
    )
    source = kind(path=path)
    plan = source.plan(99)
    monkeypatch.setattr("stonkgs.source.file.ALLOWANCE", 16 << 20)
    with pytest.raises(UserError) as error:
        list(source.reader(plan))
    assert str(error.value) == refusal(kind(path=path)) == message


@each
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_100_mb_is_one_rejection_at_bounded_memory(
    tmp_path: Path, read: Read, kind: Text, packed: bool
) -> None:
    start, row = STARTS[kind]
    path = tmp_path / "rows"
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as file:
        file.write(start + row)
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + row)
    tracemalloc.start()
    records = read(kind(path=str(path)), 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(record) for record in records] == [Statement, Rejection, Statement]
    assert [(record.reason, len(record.raw)) for record in records if isinstance(record, Rejection)] == [
        ("record of over 1048576 bytes", 65536)
    ]
    assert peak < 12 << 20


# Headers and columns


@pytest.mark.parametrize("kind", [TsvSource, CsvSource])
def test_lines_that_end_in_carriage_returns(tmp_path: Path, kind: type[TsvSource] | type[CsvSource]) -> None:
    start, row = STARTS[kind]
    path = written(tmp_path, (start + row).replace(b"\n", b"\r"))
    assert refusal(kind(path=path)).endswith("with tr '\\r' '\\n'")


@pytest.mark.parametrize(
    ("kind", "header", "message"),
    [
        (TsvSource, b"source\tsource\ttarget\tevidence\n", "more than one column is called 'source'; rename them"),
        (CsvSource, b"source,target,target,target\n", "more than one column is called 'target'; rename them"),
        (
            TsvSource,
            b"source\ttarget\n",
            "no column 'evidence'; there are ['source', 'target']. "
            "Name yours with source.columns.source=, .target= and .evidence=",
        ),
        (CsvSource, b"source,targ\xe9t\n", "the header is not UTF-8; convert the file, for example with iconv"),
        (
            CsvSource,
            b'source,"target\n',
            "the header is no record: a quoted field does not end at a comma or a line's end within 1048576 bytes; "
            'a field that holds a quote is quoted itself, and the quote written twice: "a ""b"" c"',
        ),
    ],
)
def test_a_wrong_header(tmp_path: Path, kind: Text, header: bytes, message: str) -> None:
    path = written(tmp_path, header)
    assert refusal(kind(path=path)) == f"{path}: {message}"


@each
def test_a_message_stays_short_whatever_the_header(tmp_path: Path, kind: Text) -> None:
    names = [f"{number}" + "x" * 999 for number in range(900)]
    twice = names * 2
    for columns in (names, twice, ["y" * 900_000]):
        mark = "," if kind is CsvSource else "\t"
        data = mark.join(columns) if kind is not JsonlSource else json.dumps(dict.fromkeys(columns, 1))
        assert len(refusal(kind(path=written(tmp_path, data.encode()), max_record=9_000_000))) < 5_000


@pytest.mark.parametrize("kind", [TsvSource, CsvSource, ParquetSource])
def test_files_of_other_columns_are_both_named(tmp_path: Path, kind: type[Source]) -> None:
    paths = []
    for name, columns in (("a", ["source", "target", "evidence"]), ("b", ["source", "evidence", "target"])):
        mark = b"\t" if kind is TsvSource else b","
        paths.append(written(tmp_path, mark.join(column.encode() for column in columns) + b"\n", name))
        if kind is ParquetSource:
            pq.write_table(pa.table({column: ["x"] for column in columns}), paths[-1])
    assert refusal(kind(path=paths)) == (
        f"{paths[1]}: column 2 is 'evidence' (string), but in {paths[0]} it is 'target' (string); "
        "the files of one source have the same columns in the same order"
    )


def test_a_parquet_of_another_type(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.parquet")
    pq.write_table(pa.table({"source": ["s"], "target": [b"t"], "evidence": ["e"]}), path)
    assert refusal(ParquetSource(path=path)) == (
        f"{path}: column 'target' is binary, not text; convert it to strings, "
        "or name another column with source.columns.target="
    )


# Rows


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (TsvSource, b"s\tt\t\xff", "not UTF-8: byte 5 of the record is 0xff"),
        (CsvSource, b"s,t,\xff", "not UTF-8: byte 5 of the record is 0xff"),
        (JsonlSource, b'{"source": "\xff', "not UTF-8: byte 13 of the record is 0xff"),
        (
            TsvSource,
            b's\tt\t"e',
            "a quoted field does not end at a tab or a line's end within 1048576 bytes; "
            "if quotes are ordinary characters in this file, set source.quoting=none",
        ),
        (JsonlSource, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 200 deep"),
        (JsonlSource, b'{"x": ' * 100_000 + b"1" + b"}" * 100_000, "nested more than 200 deep"),
    ],
)
def test_a_row_that_is_rejected(tmp_path: Path, read: Read, kind: Text, row: bytes, reason: str) -> None:
    start, good = STARTS[kind]
    path = written(tmp_path, start + good + row + b"\n" + good)
    records = read(kind(path=path), 9)
    assert [record.reason if isinstance(record, Rejection) else "" for record in records] == ["", reason, ""]
