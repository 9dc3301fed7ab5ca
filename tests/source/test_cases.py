"""Files as other people's programs write them: each of these has once failed."""

from collections import Counter
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.indra.matches import source_hash
from stonkgs.source.base import SplitRows
from stonkgs.source.bel import BelSource
from stonkgs.source.csv import CsvSource
from stonkgs.source.indra import IndraSource
from stonkgs.statement import Statement


def bel(path: Path) -> list[Statement]:
    """The rows of a graph, of which none is rejected."""
    source = BelSource(path=str(path))
    rows = list(source)
    assert rows
    assert all(isinstance(row, Statement) for row in rows)
    return rows  # type: ignore[return-value]


def test_links_before_nodes(cases: Path) -> None:
    (row,) = bel(cases / "nodelink_sorted_keys.bel.nodelink.json")
    assert (row.source, row.target) == ("p(HGNC:391 ! AKT1)", "p(HGNC:6973 ! MDM2)")
    assert (row.evidence, row.extra["pmid"]) == ("AKT1 acts on MDM2.", "1")


def test_a_citation_of_pybel_14(cases: Path) -> None:
    (row,) = bel(cases / "nodelink_pybel014_citation.bel.nodelink.json")
    assert (row.extra["pmid"], row.extra["citation"]) == ("1", "PubMed:1")


def test_two_edges_of_one_evidence(cases: Path) -> None:
    rows = bel(cases / "activeform_two_edges.bel.nodelink.json")
    assert {row.extra["source_hash"] for row in rows} == {-3931578121616569184}
    assert len(rows) == 2


def test_nodes_that_are_their_bel(cases: Path) -> None:
    source = BelSource(path=str(cases / "umbrella_nodelink.json"))
    reading = SplitRows(source.reader().read(source.plan()[0]))
    rows = [row for row in reading if isinstance(row, Statement)]
    assert [(row.source, row.extra["pmid"]) for row in rows] == [
        ("act(p(HGNC:391 ! AKT1), ma(kin))", "12345"),
        ("p(HGNC:391 ! AKT1)", None),
        ("p(HGNC:6973 ! MDM2)", None),
    ]
    assert Counter(reading.tally.without_row) == {"unqualified edge": 1}


@pytest.mark.parametrize("name", ["nodelink_sorted_keys.bel.nodelink.json", "umbrella_nodelink.json"])
def test_a_graph_that_is_cut_short_is_told(cases: Path, tmp_path: Path, name: str) -> None:
    data = (cases / name).read_bytes()
    for size in range(200, len(data) - 2, 37):
        (tmp_path / "graph").write_bytes(data[:size])
        try:
            told = any(not isinstance(row, Statement) for row in BelSource(path=str(tmp_path / "graph")))
        except UserError as error:
            told = "\n" not in str(error)
        assert told, size


def indra(path: Path) -> list[Statement]:
    """The rows of statements, of which none is rejected."""
    rows = list(IndraSource(path=str(path)))
    assert all(isinstance(row, Statement) for row in rows)
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["rest_results.json", "statements_by_hash.json", "one_statement_pretty.json"])
def test_one_statement_in_each_form(cases: Path, name: str) -> None:
    (row,) = indra(cases / name)
    assert (row.evidence, row.extra["stmt_hash"]) == ("MEK1 phosphorylates ERK2.", -10700327527421433)


def test_sentences_with_odd_metadata(cases: Path) -> None:
    rows = indra(cases / "evidence_odd_metadata.json")
    found = {row.evidence: row.extra for row in rows}
    assert list(found) == ["sound", "float hash", "float pmid", "nan pmid", "empty hash", "empty context"]
    assert [extra["pmid"] for extra in found.values()] == ["1", "1", "12345", None, "1", "1"]
    hashes = [found["sound"]["source_hash"], found["float pmid"]["source_hash"], found["nan pmid"]["source_hash"]]
    assert hashes == [5, 6, 7]
    anew = [found[name]["source_hash"] for name in ("float hash", "empty hash")]
    assert anew == [source_hash({"source_api": "reach", "text": name}) for name in ("float hash", "empty hash")]
    assert {extra["context"] for extra in found.values()} == {None}


def test_the_two_edges_of_an_evidence_have_one_hash_in_both_forms(cases: Path) -> None:
    rows, edges = indra(cases / "activeform_two_edges.json"), bel(cases / "activeform_two_edges.bel.nodelink.json")
    keys = [("stmt_hash", "source_hash", "pmid", "belief", "source_api")] * 2
    assert [[row.extra[key] for key in names] for row, names in zip(rows, keys, strict=True)] == [
        [row.extra[key] for key in names] for row, names in zip(edges, keys, strict=True)
    ]
    assert [(row.source, row.target) for row in rows] == [(row.source, row.target) for row in edges]


def test_the_output_of_reach(cases: Path) -> None:
    with pytest.raises(UserError, match="the output of Reach itself"):
        IndraSource(path=str(cases / "reach_output.json")).plan()


def test_a_spreadsheet_that_names_its_delimiter(cases: Path) -> None:
    assert list(CsvSource(path=str(cases / "excel_sep.csv"))) == [Statement("p(A)", "p(B)", "x")]
