"""What the text formats share: the window over a file and the rule of which split a line belongs to."""

import gc
import gzip
import pickle
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import SplitRows
from stonkgs.source.split import END
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.records import Lines, RawRecord
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection

HEADER = b"source\ttarget\tevidence\n"


def written(folder: Path, data: bytes, name: str = "rows") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([b"", b"a", b"bc\r", b"\r", "é😀".encode(), b"long" * 5]), max_size=12),
    st.booleans(),
    st.booleans(),
    st.integers(1, 50),
    st.sampled_from([1, 3, 256]),
)
def test_each_line_belongs_to_the_range_it_starts_in(
    tmp_path: Path, lines: list[bytes], bom: bool, zipped: bool, step: int, block: int
) -> None:
    data = b"\xef\xbb\xbf" * bom + b"\n".join(lines)
    path = written(tmp_path, gzip.compress(data) if zipped else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stonkgs.source.text.cursor.BLOCK", block)
        scanner = Lines(path, 15)
        whole, taken = list(scanner.records(0, END)), scanner.lines
        found, above = [], 0
        for start, stop in scanner.ranges(scanner.cursor.text, step).tolist():
            records = list(scanner.records(start, stop))
            assert all(start <= record.offset < stop for record in records)
            found += [record._replace(line=record.line + above) for record in records]
            above += scanner.lines
        scanner.close()
    assert found == whole
    assert above == taken == data[3 * bom :].count(b"\n") + bool(lines and lines[-1])
    kept = [(number, line) for number, line in enumerate(lines) if line.strip(b"\r")]
    assert [(record.line, record.raw[:15]) for record in whole] == [
        (number, (line if number == len(lines) - 1 else line.removesuffix(b"\r"))[:15]) for number, line in kept
    ]
    assert [record.problem is None for record in whole] == [len(line) <= 15 for _, line in kept]


def test_a_window_moves_back_and_forth(tmp_path: Path) -> None:
    data = b"".join(b"%07d\n" % number for number in range(100_000))
    for name, content in (("plain", data), ("zipped", gzip.compress(data))):
        cursor = Cursor(written(tmp_path, content, name))
        for offset in (400_000, 399_999, 8, 799_992, 0):
            cursor.seek(offset)
            cursor.fill(offset)
            assert cursor.data[: 8 - offset % 8] == data[offset : offset + 8 - offset % 8]
        cursor.close()


def test_gzip_is_decompressed_once_for_rising_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"".join(b"%d\t%s\tc\n" % (number, b"x" * (number % 300)) for number in range(20_000))
    source = TsvSource(path=written(tmp_path, gzip.compress(HEADER + body)))
    opened, moved = 0, 0

    class Counted(Cursor):
        def __init__(self, file: str) -> None:
            nonlocal opened
            opened += 1
            super().__init__(file)

        def seek(self, offset: int) -> None:
            nonlocal moved
            moved += offset < self.base
            super().seek(offset)

    plan = source.plan(10)
    monkeypatch.setattr("stonkgs.source.text.records.Cursor", Counted)
    assert sum(1 for _ in source.reader(plan)) == 20_000
    assert (opened, moved) == (1, 0)
    other = pickle.loads(pickle.dumps(source))
    assert sum(1 for split in list(plan)[::2] for _ in other.read(split, plan.schema)) > 5_000
    assert (opened, moved) == (2, 0)


def test_half_a_split_does_not_break_the_next(tmp_path: Path) -> None:
    body = b"".join(b"%d\tb\tc\n" % number for number in range(3000))
    source = TsvSource(path=written(tmp_path, gzip.compress(HEADER + body)))
    plan = source.plan(100)
    expected = [list(source.read(split, plan.schema)) for split in plan]
    for number in (3, 2, 9):
        next(source.read(plan[number], plan.schema))
        assert list(source.read(plan[number + 1], plan.schema)) == expected[number + 1]
    together = zip(source.read(plan[1], plan.schema), source.read(plan[5], plan.schema), strict=False)
    assert list(together) == list(zip(expected[1], expected[5], strict=False))


def test_files_are_closed(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        source = TsvSource(path=written(tmp_path, HEADER + b"a\tb\tc\n" * 100))
        reader = source.reader(source.plan(10))
        for split in reader.plan:
            next(reader.read(split))
            list(reader.read(split))
        list(reader.read(reader.plan[2]))
        del reader, source
        gc.collect()


@pytest.mark.parametrize("keep", [40, 3000])
def test_damaged_gzip_is_named(tmp_path: Path, keep: int) -> None:
    body = b"".join(b"%d\tb\t%d\n" % (number, number * number) for number in range(3000))
    path = written(tmp_path, gzip.compress(HEADER + body)[:keep])
    for quoting in ("csv", "none"):
        with pytest.raises(UserError, match="rows: its gzip data is cut short or damaged"):
            TsvSource(path=path, quoting=quoting).plan(9)


def test_what_is_kept_of_a_rejected_record_is_cut(tmp_path: Path) -> None:
    source = TsvSource(path=written(tmp_path, HEADER + b"x" * 200_000 + b"\n"))
    (rejected,) = source
    assert isinstance(rejected, Rejection)
    assert (len(rejected.raw), rejected.reason) == (64 * 1024, "1 field, the header has 3")


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbfab\n", b"\xef\xbb\xbf\nab"):
        scanner = Lines(written(tmp_path, data), 9)
        (record,) = scanner.records(0, END)
        assert record == RawRecord(data.index(b"a"), data.count(b"\n", 0, data.index(b"a")), b"ab")
        scanner.close()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_many_blank_lines_count_and_are_passed(end: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(f"source\ttarget\tevidence{end}{end * 700_000}a\tb\tc{end}{end * 7}bad{end}".encode())
    for rows in (1, 10**9):
        source = TsvSource(path=path)
        lines = 0
        found = []
        reader = source.reader(source.plan(rows))
        for split in reader.plan:
            reading = SplitRows(reader.read(split))
            found += [(type(record).__name__, lines + (getattr(record, "line", None) or 0)) for record in reading]
            assert reading.tally.lines is not None
            lines += reading.tally.lines
        assert [kind for kind, _ in found] == ["Statement", "Rejection"]
        assert found[1][1] == 700_000 + 1 + 7
        assert lines == 700_000 + 1 + 7 + 1
