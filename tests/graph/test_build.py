"""Graphs: a law against sets, for blocks and buckets of any size, and what is no graph."""

import tempfile
from unittest.mock import patch

import numpy as np
import pytest
from graph_triples import Rows, Triple, edges_of, graph_of, reading_of, triples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.graph.build import build_graph
from stonkgs.kge.index import Scratch
from stonkgs.statement import Rejection, Statement

NAMES = st.sampled_from(["A", "B", "p(HGNC:1 ! C)", "β\t\n\0", '"', "NA", "G", "H"])
TRIPLES = st.lists(st.tuples(NAMES, st.sampled_from(["is", "", "of"]), NAMES), min_size=1, max_size=40)


def is_no_graph(triples: list[Triple]) -> bool:
    return all(source == target for source, _, target in triples)


@settings(max_examples=60, deadline=None)
@given(TRIPLES, st.sampled_from([2, 3, 1 << 20]), st.sampled_from([1, 3, 1 << 17]))
def test_the_law_against_sets(triples: list[Triple], chunk: int, block: int) -> None:
    sizes = ("stonkgs.kge.index.CHUNK", "stonkgs.graph.build.CHUNK")
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as scratch, patch(sizes[0], chunk):
        with patch(sizes[1], chunk), patch("stonkgs.graph.reading.BLOCK", block):
            if is_no_graph(triples):
                with pytest.raises(UserError, match=r"only one node|only self-loops"):
                    graph_of(triples, scratch)
                return
            graph, counts = graph_of(triples, scratch)
        names = [graph.name(node) for node in range(graph.nodes)]
        assert names == list(dict.fromkeys(name for source, _, target in triples for name in (source, target)))
        assert graph.relations == tuple(dict.fromkeys(relation for _, relation, _ in triples))
        assert triples_of(graph) == sorted(
            set(triples), key=lambda one: (names.index(one[0]), graph.relations.index(one[1]), names.index(one[2]))
        )
        assert edges_of(graph) == {frozenset((source, target)) for source, _, target in triples if source != target}
        assert graph.edges == len(edges_of(graph))
        for node in range(graph.nodes):
            part = graph.neighbours[graph.starts[node] : graph.starts[node + 1]]
            assert (np.diff(part) > 0).all()
        assert counts.rows == len(triples)
        assert counts.duplicates == len(triples) - len(set(triples))
        assert counts.self_loops == sum(source == target for source, _, target in set(triples))
        arrays = (graph.neighbours, graph.triples, graph.starts)
        assert [array.dtype.name for array in arrays] == ["int32", "int32", "int64"]
        again, _ = graph_of([*triples, *triples], scratch)
        assert again.digest == graph.digest, "of duplicates it does not depend, nor of blocks"


@pytest.mark.parametrize(
    "other",
    [
        [("A", "is", "B"), ("B", "is", "D")],
        [("A", "is", "B"), ("B", "of", "C")],
        [("A", "is", "B"), ("C", "is", "B")],
        [("B", "is", "A"), ("B", "is", "C")],
        [("A", "is", "BB"), ("BB", "is", "C")],
    ],
)
def test_the_digest_is_of_names_relations_and_triples(other: list[Triple]) -> None:
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as scratch:
        graph, _ = graph_of([("A", "is", "B"), ("B", "is", "C")], scratch)
        assert graph_of(other, scratch)[0].digest != graph.digest


def test_rows_that_are_no_triples_are_counted() -> None:
    rows: list[Statement | Rejection] = [
        Rejection("f", "reason", b""),
        Statement("", "A", "", {"relation": "is"}),
        Statement("A", "", "", {"relation": "is"}),
        Statement("A", "\ud800", "", {"relation": "is"}),
        Statement("A", "B", "", {"relation": None}),
        Statement("A", "B", "", {"relation": 3.0}),
    ]
    reading = reading_of(Rows(rows))
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as scratch:
        graph, _ = build_graph(reading, scratch)
        assert triples_of(graph) == [("A", "", "B"), ("A", "3", "B")]
        assert reading.left_out == {"rejected": 1, "empty": 3}
        with pytest.raises(
            UserError, match=r"^the graph is empty: rows that are left out: 1 cannot be read, 3 have an"
        ):
            build_graph(reading_of(Rows(rows[:4])), scratch)


@pytest.mark.parametrize(
    ("triples", "line"),
    [
        ([("A", "is", "A")], "^the graph has only one node: nothing can be learned from it"),
        ([("A", "is", "A"), ("B", "is", "B")], "^the graph has 2 nodes and only self-loops"),
        ([], "^the graph is empty"),
    ],
)
def test_what_is_no_graph(triples: list[Triple], line: str) -> None:
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as scratch, pytest.raises(UserError, match=line):
        graph_of(triples, scratch)
