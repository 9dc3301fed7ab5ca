"""TSV: columns, the header, what happens to a record that cannot be used, and what a file costs."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.split import Split
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]
HEADER = b"source\ttarget\tevidence\n"


def written(folder: Path, data: bytes, name: str = "rows.tsv") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def fields(record: Statement | Rejection) -> list[str]:
    assert isinstance(record, Statement)
    return [record.source, record.target, record.evidence, *record.extra.values()]


# What is read


def test_quotes_are_ordinary_where_quoting_is_none(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, HEADER + b'"a"\tb""\t"c\n')
    assert [fields(record) for record in read(TsvSource(path=path, quoting="none"), 9)] == [['"a"', 'b""', '"c']]


def test_quotes_inside_an_unquoted_field_are_ordinary(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, HEADER + b'p(HGNC:1 ! "X")\t5" disk\t"a ""b"""\n')
    assert [fields(record) for record in read(TsvSource(path=path), 9)] == [['p(HGNC:1 ! "X")', '5" disk', 'a "b"']]


def test_a_lone_carriage_return_is_data_and_blank_lines_are_not(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + HEADER + b"a\rb\t\tc\r\n\r\n\n1\t2\t3\r")
    for quoting in ("csv", "none"):
        source = TsvSource(path=path, quoting=quoting)
        assert [fields(record) for record in read(source, 1)] == [["a\rb", "", "c"], ["1", "2", "3\r"]]


def test_columns_are_renamed_and_the_others_passed_through(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b"pmid\tsubj\tobj\ttext\tscore\n1\ts\tt\te\t\n")
    columns = {"source": "subj", "target": "obj", "evidence": "text"}
    assert read(TsvSource(path=path, columns=columns), 9) == [Statement("s", "t", "e", {"pmid": "1", "score": ""})]


# What is rejected


def test_a_stray_quote_costs_one_row(tmp_path: Path, read: Read) -> None:
    rows = [b's%d\tt\t"e"\n' % number for number in range(10)]
    rows[2] = b's2\tt\t"open\n'
    records = read(TsvSource(path=written(tmp_path, HEADER + b"".join(rows))), 3)
    rejected = [record for record in records if isinstance(record, Rejection)]
    assert [fields(record)[0] for record in records if isinstance(record, Statement)] == [
        f"s{number}" for number in range(10) if number != 2
    ]
    assert [(record.offset, record.line, record.raw) for record in rejected] == [(len(HEADER) + 18, 4, b's2\tt\t"open')]
    assert "source.quoting=none" in rejected[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a\tb\tc\td", "4 fields, the header has 3"),
        (b"a", "1 field, the header has 3"),
        (b"a\tb\tc\xff", "not UTF-8: byte 6 of the record is 0xff"),
        (b"a\tb\t" + b"c" * 97, "record of over 100 bytes"),
        (b'a\tb\t"c"d', "set source.quoting=none"),
    ],
)
def test_reasons(tmp_path: Path, read: Read, row: bytes, reason: str) -> None:
    source = TsvSource(path=written(tmp_path, HEADER + row + b"\n1\t2\t3\n"), max_record=100)
    rejected, kept = read(source, 9)
    assert isinstance(rejected, Rejection)
    assert reason in rejected.reason
    assert (rejected.raw, rejected.offset, rejected.line) == (row[:100], len(HEADER), 2)
    assert fields(kept) == ["1", "2", "3"]


def test_a_record_of_exactly_max_record_bytes_is_read(tmp_path: Path, read: Read) -> None:
    for quoting in ("csv", "none"):
        for end in (b"", b"\n"):
            path = written(tmp_path, HEADER + b"a\tb\t" + b"c" * 96 + end)
            source = TsvSource(path=path, quoting=quoting, max_record=100)
            assert len(fields(read(source, 9)[0])[2]) == 96


# The header


def test_header_of_several_lines_counts_them(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b'\n"sou\nrce"\ttarget\tevidence\n1\t2\n')
    (rejected,) = read(TsvSource(path=path, columns={"source": "sou\nrce"}), 9)
    assert isinstance(rejected, Rejection)
    assert rejected.line == 4


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"source\tsource\ttarget\tevidence\n", "more than one column is called 'source'"),
        (b"source\ttarget\t\xff\n", "not UTF-8"),
        (b'source\ttarget\t"evidence\n', "set source.quoting=none"),
        (b"source\ttarget\n", "no column 'evidence'"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        TsvSource(path=written(tmp_path, data)).plan(9)
    assert "rows.tsv" in str(error.value)


def test_files_of_one_source_have_equal_headers(tmp_path: Path) -> None:
    paths = [written(tmp_path, HEADER, "a.tsv"), written(tmp_path, b"source\tevidence\ttarget\n", "b.tsv")]
    with pytest.raises(UserError, match=r"b\.tsv: column 2 is 'evidence'.*a\.tsv it is 'target'"):
        TsvSource(path=paths).plan(9)


def test_a_header_alone_is_one_empty_split(tmp_path: Path, read: Read) -> None:
    for data in (HEADER, HEADER[:-1], gzip.compress(HEADER)):
        source = TsvSource(path=written(tmp_path, data))
        assert read(source, 9) == []
        plan = source.plan()
        assert len(plan) == 1


def test_settings_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER)
    for setting in (
        {"quoting": "all"},
        {"max_record": 0},
        {"columns": {"subject": "x"}},
        {"columns": {"source": "target"}},
    ):
        with pytest.raises(UserError, match="source"):
            TsvSource(path=path, **setting).plan(9)


# What it costs


class Counted(Cursor):
    """A cursor that counts the bytes it reads and the bytes it holds."""

    taken = held = 0

    def fill(self, keep: int) -> None:
        before = self.end
        super().fill(keep)
        Counted.taken += self.end - before
        Counted.held = max(Counted.held, len(self.data))


@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_a_huge_line_is_passed_once_at_constant_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quoting: str
) -> None:
    size, limit = 20 << 20, 100_000
    path = written(tmp_path, HEADER + b"1\t2\t3\n" + b"x" * size + b"\n4\t5\t6\n")
    monkeypatch.setattr("stonkgs.source.text.records.Cursor", Counted)
    source = TsvSource(path=path, quoting=quoting, max_record=limit)  # type: ignore[arg-type]
    monkeypatch.setattr("stonkgs.source.text.records.SPLIT_BYTES", 5000)
    tracemalloc.start()
    plan = source.plan(1000)
    Counted.taken = 0
    records = list(source.reader(plan))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(record) for record in records] == [Statement, Rejection, Statement]
    assert Counted.taken < size + (4 << 20)
    assert Counted.held < limit + 3 * (256 << 10)
    assert peak < 8 << 20


def test_a_split_inside_a_huge_line_reads_no_further_than_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, HEADER + b"x" * (4 << 20) + b"\n")
    monkeypatch.setattr("stonkgs.source.text.records.Cursor", Counted)
    source = TsvSource(path=path, quoting="none", max_record=1000)
    schema = source.plan(1).schema
    Counted.taken = 0
    assert list(source.read(Split(0, path, 1 << 20, (1 << 20) + 9000), schema)) == []
    assert Counted.taken <= 256 << 10
    Counted.taken = 0
    owned = Split(0, path, len(HEADER), len(HEADER) + 1000)
    assert [type(record) for record in source.read(owned, schema)] == [Rejection]
    assert Counted.taken <= 256 << 10


def test_records_are_taken_apart_in_the_first_mb_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rest only lines are counted, which takes half a second a GB."""
    path = Path(written(tmp_path, HEADER + (b"s\tt\t" + b"e" * 300 + b"\n") * 4000))
    with path.open("ab") as file:
        file.truncate(1 << 30)
    monkeypatch.setattr("stonkgs.source.text.records.Cursor", Counted)
    monkeypatch.setattr("stonkgs.source.text.records.SPLIT_BYTES", 70_000)
    Counted.taken = 0
    plan = TsvSource(path=str(path), quoting="none").plan(256)
    assert len(plan) == -(-((1 << 30) - len(HEADER)) // 70_000)
    assert plan[len(plan) - 1].stop == 1 << 30
    assert Counted.taken < 3 << 20
