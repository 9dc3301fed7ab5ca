"""The method pykeen, where PyKEEN is installed: vectors of nodes and relations."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from small_graphs import graph_of

from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.pykeen import PyKeen

#: Relation 0 leads to the next node, relation 1 to the one after.
RING = [pair for node in range(20) for pair in ((node, (node + 1) % 20), (node, (node + 2) % 20))]


def learned(graph: Graph, method: PyKeen) -> NDArray[np.float32]:
    """The vectors of nodes and relations."""
    vectors = np.full((graph.nodes + len(graph.relations), method.dimension), np.nan, np.float32)
    method.learn(graph, vectors, np.empty((graph.nodes, method.walk_length), np.int32))
    return vectors


def test_without_pykeen_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pykeen.training", None)
    with pytest.raises(UserError, match=r"pip install 'stonkgs\[kge\]'"):
        learned(graph_of(20, RING), PyKeen())


@pytest.mark.parametrize("model", ["TransE", "DistMult", "RotatE", "ComplEx"])
def test_nodes_and_relations_have_vectors(model: str) -> None:
    pytest.importorskip("pykeen", reason="needs the extra kge")
    graph = graph_of(20, RING, ("next", "second"))
    vectors = learned(graph, PyKeen(model=model, dimension=8, walk_length=6, epochs=2))
    assert vectors.shape == (22, 8)
    assert np.isclose((vectors**2).mean(), 1, atol=1e-3)
    assert vectors.any(axis=1).all()
    assert vectors.tobytes() == learned(graph, PyKeen(model=model, dimension=8, walk_length=6, epochs=2)).tobytes()


def test_a_relation_leads_from_its_sources_to_its_targets() -> None:
    pytest.importorskip("pykeen", reason="needs the extra kge")
    graph = graph_of(20, RING, ("next", "second"))
    vectors = learned(graph, PyKeen(dimension=16, walk_length=6, epochs=150, batch_size=40))
    sources, relations, targets = graph.triples.T
    reached = vectors[sources] + vectors[20 + relations]
    near = np.abs(reached[:, None] - vectors[None, :20]).sum(axis=2).argsort(axis=1)
    hits = (near[:, :5] == targets[:, None]).any(axis=1).mean()
    assert hits > 0.6  # by chance 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "Nonsense"}, "PyKEEN has none"),
        ({"model": "TransR"}, "other vectors than one of equal width"),
        ({"model": "RotatE", "dimension": 7}, "needs an even number"),
    ],
)
def test_what_does_not_fit_a_store_is_refused(settings: dict[str, str | int], message: str) -> None:
    pytest.importorskip("pykeen", reason="needs the extra kge")
    with pytest.raises(UserError, match=message):
        learned(graph_of(20, RING, ("next", "second")), PyKeen(**settings))  # type: ignore[arg-type]
