"""Files as other people's programs write them: each of these has once failed."""

from collections import Counter
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.source.base import SplitRows
from stonkgs.source.bel import BelSource
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
