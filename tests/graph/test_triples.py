"""Reading triples: with and without a header, from sources, and what is no triple."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.graph.triples import SourceTriples, TripleFiles
from stonkgs.source.indra import IndraSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement


def written(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read(*paths: str) -> list[tuple[str, str | None, str]]:
    triples = TripleFiles(paths)
    rows = [row for row in triples.rows(Counter()) if isinstance(row, Statement)]
    return [(row.source, row.extra.get("relation"), row.target) for row in rows]


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lambda data: __import__("pyarrow").compress(data, "zstd", asbytes=True)],
    ids=["plain", "gzip", "zstd"],
)
def test_three_columns_without_a_header(tmp_path: Path, pack: object) -> None:
    text = '\ufeffa "b"\tis\t"c"\n\nNA\t\tβ (x, y)\r\nsource\tx\ty\n'
    path = written(tmp_path / "t", pack(text.encode()))  # type: ignore[operator]
    assert read(path) == [('a "b"', "is", '"c"'), ("NA", "", "β (x, y)"), ("source", "x", "y")]
    assert list(TripleFiles([path]).headers()) == []


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("source\trelation\ttarget", "srt"),
        ("Target\tSource\tPredicate", "tsr"),
        ("subject\tpredicate\tobject", "srt"),
        ("h\tr\tt", "srt"),
        ("head\ttail", "st"),
        ("pmid\tsource\ttarget\tevidence", "pste"),
    ],
)
def test_a_header_names_the_columns(tmp_path: Path, header: str, order: str) -> None:
    values = {"s": '"a ""b"""', "r": "is", "t": "c", "p": "1", "e": '"two\nlines"'}
    path = written(tmp_path / "t", f"{header}\n" + "\t".join(values[one] for one in order) + "\n")
    assert read(path) == [('a "b"', "is" if "r" in order else "", "c")]
    (said,) = TripleFiles([path]).headers()
    assert "the first line names columns: source '" in said


def test_other_columns_are_kept_for_groups(tmp_path: Path) -> None:
    path = written(tmp_path / "t", "source\ttarget\tpmid\tevidence\na\tb\t7\tit is\n")
    triples = TripleFiles([path])
    assert triples.columns == {"source", "target", "pmid", "evidence", "relation"}
    assert list(triples.rows(Counter())) == [Statement("a", "b", "it is", {"pmid": "7", "relation": ""})]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\tis\tb\na\tb\n", r"t, line 2: 2 fields, and a triple is source, relation and target"),
        ("\na\n", r"t, line 2: 1 field, and a triple"),
        ("a\tis\tb\n\na\tis\tb\tc\n", r"t, line 3: 4 fields"),
        ("source\ttarget\na\tb\na\n", r"t, line 3: 1 field, the header has 2"),
        ('source\ttarget\n"a\nb"\tc\na\n', r"t, line 4: 1 field, the header has 2"),
        ('source\ttarget\n"a\tc\n', r"t, line 2: .*quote"),
        ("source\ttarget\tSource\na\tb\tc\n", r"t, line 1: more than one column is called 'source'"),
        (b"a\tis\tb\n\xff\tis\tc\n", r"t, line 2: not UTF-8"),
        ("a\tis\tb\0\n", "NUL byte"),
        ("", r"t: no triples; each line is source, relation and target"),
        ("\n\n", r"t: no triples"),
    ],
)
def test_what_is_no_triple_is_told_with_its_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        read(written(tmp_path / "t", text))
    assert "\n" not in str(caught.value)


def test_quoted_names_without_a_header_are_counted(tmp_path: Path) -> None:
    counts = Counter[str]()
    path = written(tmp_path / "t", '"a"\tis\tb\n"\tis\tb\n')
    assert len(list(TripleFiles([path]).rows(counts))) == 2
    assert [*counts.values()] == [1]


def test_statements_are_triples(tmp_path: Path, golden: Path) -> None:
    path = written(tmp_path / "rows.tsv", "source\ttarget\tevidence\trelation\na\tb\te\tis\nbad\n")
    source = SourceTriples(TsvSource(path=path).reader())
    assert (source.relation, len(list(source.rows(Counter())))) == ("relation", 2)
    indra = SourceTriples(IndraSource(path=golden / "indra" / "statements.json.gz").reader())
    counts = Counter[str]()
    assert indra.relation == "stmt_type"
    assert len(list(indra.rows(counts))) > 100
    assert any(reason.startswith("no row: ") for reason in counts)


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    path = written(tmp_path / "t", "a\tis\tb\n")
    triples = TripleFiles([path])
    triples.check()
    Path(path).write_text("a\tis\tc\n")
    with pytest.raises(UserError, match="was changed while it was read"):
        triples.check()
