"""CSV: any delimiter, the dialect of Python's csv module, and messages that name the right thing."""

import csv
import gzip
import io
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.csv import CsvSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]
HEADER = b"source,target,evidence\n"
cells = st.text(
    st.sampled_from('a,;s"\n\té😀 ') | st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8
)


def written(folder: Path, data: bytes, name: str = "rows.csv") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def fields(record: Statement | Rejection) -> list[str]:
    assert isinstance(record, Statement), record
    return [record.source, record.target, record.evidence, *record.extra.values()]


def reasons(records: list[Statement | Rejection]) -> list[str]:
    return [record.reason for record in records if isinstance(record, Rejection)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.integers(3, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8)),
    st.sampled_from(",,;|:se%\\]^-.*$~ "),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
    st.sampled_from([1, 3, 7, 20, 1000]),
)
def test_what_csv_writer_writes_is_read_back(
    tmp_path: Path, read: Read, table: list[list[str]], mark: str, end: str, quoting: Any, zipped: bool, size: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=mark, lineterminator=end, quoting=quoting)
    width = len(table[0]) if table else 3
    writer.writerow(["source", "target", "evidence", "x", "y"][:width])
    writer.writerows(table)
    data = out.getvalue().encode()
    path = written(tmp_path, gzip.compress(data) if zipped else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stonkgs.source.text.records.SPLIT_BYTES", size)
        assert [fields(record) for record in read(CsvSource(path=path, delimiter=mark), 1000)] == table


def test_a_field_of_many_commas_is_read_in_linear_time(tmp_path: Path, read: Read) -> None:
    evidence = "," * 1_000_000
    path = written(tmp_path, HEADER + b's,t,"' + evidence.encode() + b'"\n')
    assert read(CsvSource(path=path), 9) == [Statement("s", "t", evidence)]


@pytest.mark.parametrize("mark", ["", ",,", "é", '"', "\n", "\r", "\0", None, 7])
def test_a_delimiter_is_one_ascii_character(tmp_path: Path, mark: Any) -> None:
    with pytest.raises(UserError) as error:
        CsvSource(path=written(tmp_path, HEADER), delimiter=mark).plan(9)
    assert str(error.value) == f"source.delimiter is {mark!r}; it is one ASCII character, and no quote or line's end"


@pytest.mark.parametrize(
    ("row", "mark", "reason"),
    [
        (b"a,b,c,d", ",", "4 fields, the header has 3; quote the fields that hold a comma"),
        (b"a;b", ";", "2 fields, the header has 3; quote the fields that hold a semicolon"),
        (b'a|"b\nc"', "|", "2 fields, the header has 3; quotes join 2 lines here: is one misplaced?"),
        (
            b'a,b,"c" d',
            ",",
            "a quoted field does not end at a comma or a line's end within 1048576 bytes; "
            'a field that holds a quote is quoted itself, and the quote written twice: "a ""b"" c"',
        ),
    ],
)
def test_reasons(tmp_path: Path, read: Read, row: bytes, mark: str, reason: str) -> None:
    header = HEADER.replace(b",", mark.encode())
    assert reasons(read(CsvSource(path=written(tmp_path, header + row + b"\n"), delimiter=mark), 9)) == [reason]


MARKS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "'|'"}


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("given", "mark"), [(given, mark) for given in MARKS for mark in MARKS if given != mark])
def test_the_source_that_would_read_it_is_named(tmp_path: Path, read: Read, quote: str, given: str, mark: str) -> None:
    lines = (["source", "target", "evidence"], ["s", "t", "e"])
    data = "".join(mark.join(f"{quote}{field}{quote}" for field in line) + "\n" for line in lines)
    path = written(tmp_path, data.encode())
    source = TsvSource(path=path) if given == "\t" else CsvSource(path=path, delimiter=given)
    with pytest.raises(UserError) as error:
        source.plan(9)
    short = {("\t", ","): "source=csv", (given, "\t"): "source=tsv"}
    how = short.get((given, mark), f"source=csv \"source.delimiter='{mark}'\"")
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(f" It has no {MARKS[given]} but a {MARKS[mark]}: {how}")
    # What is said works as it is typed into a shell.
    chosen, *further = OverridesParser.create().parse_overrides(shlex.split(how))
    said: Any = {override.key_or_group.removeprefix("source."): override.value() for override in further}
    named: Callable[..., Source] = TsvSource if chosen.value() == "tsv" else CsvSource
    assert read(named(path=path, **said), 9) == [Statement("s", "t", "e")]


@pytest.mark.parametrize("opening", ["sep={}", '"sep={}"', "SEP={}", "sep={}  "])
@pytest.mark.parametrize("mark", [";", ",", "\t", "|", ":", "a"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: b"\xef\xbb\xbf" + data])
def test_a_first_line_names_the_delimiter(
    tmp_path: Path, read: Read, opening: str, mark: str, end: str, pack: Callable[[bytes], bytes]
) -> None:
    """As spreadsheets write and read it, whatever source.delimiter says; lines are those of the file."""
    rows = [["source", "target", "evidence"], ["S", "T", f"x{mark}y"], ["S", "T"], ["S 2", "T", "z"]]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    path = written(tmp_path, pack((opening.format(mark) + end + out.getvalue()).encode()))
    for told in (",", ";"):
        first, short, last = read(CsvSource(path=path, delimiter=told), 1)
        assert (fields(first), fields(last)) == ([*rows[1]], [*rows[3]])
        assert isinstance(short, Rejection)
        assert (short.line, short.reason[:27]) == (4, "2 fields, the header has 3;")
        named = {";": "semicolon", ",": "comma", "\t": "tab"}.get(mark, repr(mark))
        assert short.reason.endswith(f"quote the fields that hold a {named}")


def test_files_that_name_different_delimiters(tmp_path: Path, read: Read) -> None:
    contents = ["sep=;\nsource;target;evidence\nS;T;a,b\n", "source,target,evidence\nS,T,c;d\n"]
    contents.append("sep=\\t\nsource\ttarget\tevidence\nS\tT\te\n")
    paths = [written(tmp_path, text.encode(), f"{number}.csv") for number, text in enumerate(contents)]
    assert [fields(record)[2] for record in read(CsvSource(path=paths), 9)] == ["a,b", "c;d", "e"]
    assert [fields(record)[2] for record in read(CsvSource(path=paths, limit=2), 9)] == ["a,b", "c;d"]


def test_a_tsv_may_name_its_tab(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b'sep=\t\nsource\ttarget\tevidence\nS\tT\t"a"\n')
    assert [fields(record) for record in read(TsvSource(path=path), 9)] == [["S", "T", "a"]]
    assert [fields(record) for record in read(TsvSource(path=path, quoting="none"), 9)] == [["S", "T", '"a"']]
    path = written(tmp_path, b"sep=;\nsource;target;evidence\nS;T;a\n")
    with pytest.raises(UserError, match=r"rows\.csv: its first line names the semicolon as delimiter: source=csv"):
        TsvSource(path=path).plan(9)


@pytest.mark.parametrize("data", [b"sep=;", b"sep=;\n", b"sep=;\r\n\r\n"])
def test_a_file_that_only_names_its_delimiter_is_empty(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match="is empty; its first line has to give the columns' names"):
        CsvSource(path=written(tmp_path, data)).plan(9)


def test_a_column_may_be_called_sep(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b"sep=,source,target,evidence\n1,S,T,a\n")
    assert [fields(record) for record in read(CsvSource(path=path), 9)] == [["S", "T", "a", "1"]]
