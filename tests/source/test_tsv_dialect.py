"""The csv dialect of TSV: against Python's csv module, against a slow reading of its rules, and at what cost."""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from stonkgs.source.base import Source
from stonkgs.source.text import quoted
from stonkgs.source.text.quoted import Quoted, cutter
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

Records = list[Statement | Rejection]
Read = Callable[[Source, int], Records]
HEADER = b"source\ttarget\tevidence\n"
EACH = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def written(folder: Path, data: bytes) -> str:
    (folder / "rows.tsv").write_bytes(data)
    return str(folder / "rows.tsv")


def fields(record: Statement | Rejection) -> list[str]:
    assert isinstance(record, Statement)
    return [record.source, record.target, record.evidence, *record.extra.values()]


def sliced(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("stonkgs.source.text.records.SPLIT_BYTES", size)


@pytest.mark.parametrize("name", ["bel_conib_hemekg", "correctness_hbp_enrichment", "indra_hbp_edges"])
def test_real_corpora_equal_pythons_csv(corpora: Path, name: str, read: Read) -> None:
    path = corpora / f"{name}.tsv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file, delimiter="\t"))
    records = read(TsvSource(path=str(path)), 256)
    assert len(records) == len(expected) > 3000
    for record, row in zip(records, expected, strict=True):
        assert isinstance(record, Statement)
        roles = {"source": record.source, "target": record.target, "evidence": record.evidence}
        assert {**roles, **record.extra} == row


cells = st.text(st.sampled_from('aé\t\n"😀 x') | st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)
tables = st.integers(3, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8))


@EACH
@given(tables, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from([1, 2, 3, 7, 20, 1000]))
def test_what_csv_writer_writes_is_read_back(
    tmp_path: Path, read: Read, table: list[list[str]], end: str, zipped: bool, size: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, csv.excel_tab, lineterminator=end)
    width = len(table[0]) if table else 3
    writer.writerow(["source", "target", "evidence", "x", "y"][:width])
    writer.writerows(table)
    data = out.getvalue().encode()
    path = written(tmp_path, gzip.compress(data) if zipped else data)
    with pytest.MonkeyPatch.context() as patch:
        sliced(patch, size)
        assert [fields(record) for record in read(TsvSource(path=path), 1000)] == table


@given(st.lists(cells, min_size=1, max_size=5), st.booleans())
def test_fields_are_those_of_pythons_csv(row: list[str], quote_all: bool) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, csv.excel_tab, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerow(row)
    unquoted = cutter("\t")
    assert unquoted(out.getvalue().removesuffix("\r\n")) == row
    assert unquoted('p("a")\t5" disk\t' + out.getvalue().removesuffix("\r\n")) == ['p("a")', '5" disk', *row]


def oracle(data: bytes, limit: int) -> Iterator[tuple[int, bool, bytes]]:
    """The dialect byte by byte, blank lines left out: (offset, whether it is a record, its bytes or its first line)."""
    at = 0
    while at < len(data):
        end = _oracle_end(data, at, limit)
        newline = data.find(b"\n", at)
        first_line = len(data) if newline < 0 else newline + 1
        raw = data[at : first_line if end is None else end]
        raw = raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")
        if end is None or raw.strip(b"\r"):
            yield at, end is not None, raw[:limit] if end is None else raw
        at = first_line if end is None else end


def _oracle_end(data: bytes, start: int, limit: int) -> int | None:
    state, at = "start", start
    while at < len(data) and at <= start + limit:
        byte, rest = data[at : at + 1], data[at : at + 2]
        if state == "quoted":
            state = "closing" if byte == b'"' else "quoted"
        elif state == "closing" and byte == b'"':
            state = "quoted"
        elif byte == b"\n" or (state == "closing" and rest == b"\r\n" and at < start + limit):
            return at + (1 if byte == b"\n" else 2)
        elif byte == b"\t":
            state = "start"
        elif state == "closing":
            return None
        else:
            state = "quoted" if state == "start" and byte == b'"' else "plain"
        at += 1
    return len(data) if at == len(data) <= start + limit and state != "quoted" else None


hostile = st.lists(
    st.sampled_from([b'"', b'"', b"\t", b"\n", b"\r\n", b"\r", b"a", b'""', b"\xc3\xa9", b"\xff"]), max_size=60
)


@settings(EACH, max_examples=600)
@given(
    hostile.map(b"".join),
    st.sampled_from([1, 2, 3, 5, 8, 13, 1000]),
    st.integers(1, 12),
    st.sampled_from([1, 2, 4, 256]),
    st.sampled_from("\t\t,;|]^-%\\"),
)
@example(b'"\tx"\t"\n' * 12, 30, 5, 4, "\t")
@example(b'"\tx"\t"\n' * 3 + b'"', 30, 10, 256, ",")
def test_any_bytes_read_alike_at_every_split_size(
    tmp_path: Path, body: bytes, size: int, limit: int, block: int, mark: str
) -> None:
    limit = limit if limit < 12 else 1000
    path = written(tmp_path, (b"a\tb\n" + body).replace(b"\t", mark.encode()))
    expected = [(at + 4, whole, raw.replace(b"\t", mark.encode())) for at, whole, raw in oracle(body, limit)]
    with pytest.MonkeyPatch.context() as patch:
        sliced(patch, size)
        for module in ("text.cursor", "text.quoted"):
            patch.setattr(f"stonkgs.source.{module}.BLOCK", block)
        scanner = Quoted(path, limit, mark, "")
        splits = scanner.ranges(4, size).tolist()
        found = [record for start, stop in splits for record in scanner.records(start, stop)]
        scanner.close()
    assert [(record.offset, record.problem is None, record.raw) for record in found] == expected
    assert [start for start, _ in splits] == [4, *(stop for _, stop in splits[:-1])]
    assert splits[-1][1] == 4 + len(body)


@EACH
@given(
    st.binary(max_size=80) | hostile.map(b"".join), st.sampled_from(["csv", "none"]), st.booleans(), st.integers(1, 30)
)
def test_any_bytes_are_accounted_for_line_by_line(
    tmp_path: Path, read: Read, body: bytes, quoting: str, zipped: bool, size: int
) -> None:
    data = HEADER + body
    assume(data.count(0) * 10 <= len(data))  # or it is taken for UTF-16
    path = written(tmp_path, gzip.compress(data) if zipped else data)
    source = TsvSource(path=path, quoting=quoting, max_record=24)  # type: ignore[arg-type]
    whole = read(source, 1000)
    with pytest.MonkeyPatch.context() as patch:
        sliced(patch, size)
        assert read(source, 1000) == whole
    for record in whole:
        if isinstance(record, Rejection):
            assert record.offset is not None
            assert record.line == 1 + data.count(b"\n", 0, record.offset)
            assert data[record.offset :].startswith(record.raw)
    if quoting == "none":
        assert len(whole) == sum(bool(line.strip(b"\r")) for line in body.split(b"\n"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b'"\tx"\t"\n', 1), (b'a\t"b\n', 1), (b'"a"b\n', 1), (b'""""\n', 1), (b"\n", 0), (b'"x\n""\n', 2)],
)
def test_hostile_files_take_linear_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, expected: int
) -> None:
    looked_at = 0
    patterns = quoted.patterns("\t")

    def watched(match: quoted.Matcher) -> quoted.Matcher:
        """A pattern that counts how far it looks; where it finds nothing, that is as far as a record goes."""

        def counted(data: bytes, at: int, stop: int) -> re.Match[bytes] | None:
            nonlocal looked_at
            found = match(data, at, stop)
            reached = found or patterns.part(data, at, stop)
            assert reached
            looked_at += reached.end() - at
            return found

        return counted

    counting = quoted.Patterns(*map(watched, patterns))
    monkeypatch.setattr(quoted, "patterns", lambda delimiter: counting)
    size, limit = 1 << 18, 1 << 14
    monkeypatch.setattr("stonkgs.source.text.quoted.BLOCK", 1 << 12)
    path = written(tmp_path, HEADER + line * (size // len(line)))
    source = TsvSource(path=path, max_record=limit)
    count = sum(1 for _ in source.reader(source.plan(500)))
    assert count == expected * (size // len(line))
    assert looked_at < 80 * size
