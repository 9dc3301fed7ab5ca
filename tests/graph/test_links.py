"""Held-out edges: which are taken, and figures against naive ones."""

import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
from graph_triples import Triple, edges_of, graph_of, triples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.graph.held_out import hold_out
from stonkgs.graph.links import MATCHED, RIDGE, UNIFORM, _auc, _hits, link_figures, logistic_regression
from stonkgs.kge.index import Scratch


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as made:
        yield made


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(PAIRS.filter(lambda pairs: any(a != b for a, b in pairs)), st.floats(0, 0.5), st.integers(0, 3))
def test_no_node_loses_its_last_edge(pairs: list[tuple[int, int]], share: float, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Scratch(folder) as scratch:
        graph, _ = graph_of([(str(a), "is" if a % 2 else "of", str(b)) for a, b in pairs], scratch)
        rest, held = hold_out(graph, share, seed, scratch)
        taken = {frozenset(map(graph.name, pair)) for pair in held.tolist()}
        assert len(taken) == len(held) <= round(share * graph.edges)
        assert edges_of(rest) == edges_of(graph) - taken
        assert triples_of(rest) == [one for one in triples_of(graph) if frozenset((one[0], one[2])) not in taken]
        assert ((rest.degrees > 0) == (graph.degrees > 0)).all()
        assert rest.digest != graph.digest
        again, same = hold_out(graph, share, seed, scratch)
        assert (same == held).all()
        assert again.digest == rest.digest
        nodes = np.arange(graph.nodes, dtype=np.int32)
        first, second = np.repeat(nodes, len(nodes)), np.tile(nodes, len(nodes))
        names = [frozenset(map(graph.name, pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)]
        assert graph.adjacent(first, second).tolist() == [pair in edges_of(graph) for pair in names]


def test_a_share_of_a_dense_graph_is_met(scratch: Scratch) -> None:
    graph, _ = graph_of([(str(a), "is", str(b)) for a in range(30) for b in range(a)], scratch)
    _, held = hold_out(graph, 0.1, 0, scratch)
    _, other = hold_out(graph, 0.1, 1, scratch)
    assert len(held) == len(other) == round(graph.edges / 10)
    assert {*map(tuple, held.tolist())} != {*map(tuple, other.tolist())}


SCORES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_figures_against_naive_ones(edges: list[float], others: list[float]) -> None:
    wins = [(edge > other) + (edge == other) / 2 for edge in edges for other in others]
    assert _auc(np.array(edges), np.array(others)) == pytest.approx(sum(wins) / len(wins))
    rows = np.array([others] * len(edges))
    ranks = []
    for edge in edges:
        above, same = sum(other > edge for other in others), sum(other == edge for other in others)
        ranks.append(np.mean([above + place < 10 for place in range(same + 1)]))
    assert _hits(np.array(edges), rows) == pytest.approx(np.mean(ranks))


def test_the_scorer_is_logistic_regression() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 5))
    targets = (features[:, 0] - features[:, 1] + random.normal(size=400) > 0.5).astype(float)
    weights = logistic_regression(features, targets)
    reference = sklearn.LogisticRegression(C=1 / RIDGE, tol=1e-9).fit(features, targets)
    assert weights == pytest.approx([*reference.intercept_, *reference.coef_[0]], abs=1e-4)
    apart = logistic_regression(features, (features[:, 0] > 0).astype(float))
    assert np.isfinite(apart).all()


def clusters() -> list[Triple]:
    """Two groups of 30 nodes, with most of the edges inside."""
    random = np.random.default_rng(0)
    chance = [(a, b, 0.4 if a % 2 == b % 2 else 0.02) for a in range(60) for b in range(a)]
    return [(str(a), "is", str(b)) for a, b, likely in chance if random.random() < likely]


def test_vectors_that_know_the_clusters_tell_edges_and_degrees_do_not(scratch: Scratch) -> None:
    graph, _ = graph_of(clusters(), scratch)
    rest, held = hold_out(graph, 0.1, 0, scratch)
    sides = np.array([int(graph.name(node)) % 2 for node in range(graph.nodes)])
    vectors = np.stack([1 - 2 * sides, np.ones(graph.nodes)], axis=1).astype(np.float32)
    found = link_figures(graph, rest, held, vectors, 0)
    assert found == link_figures(graph, rest, held, vectors, 0)
    for kind in (UNIFORM, MATCHED):
        assert found[kind]["auc"][0] > 0.7
        assert found[kind]["degrees_auc"][0] < 0.65
        assert 0 <= found[kind]["auc"][1] < 0.1
    noise = np.random.default_rng(1).normal(size=(graph.nodes, 2)).astype(np.float32)
    nothing = link_figures(graph, rest, held, noise, 0)
    assert nothing[MATCHED]["auc"][0] < 0.65


def test_a_complete_graph_has_no_negatives(scratch: Scratch) -> None:
    graph, _ = graph_of([(str(a), "is", str(b)) for a in range(9) for b in range(a)], scratch)
    rest, held = hold_out(graph, 0.1, 0, scratch)
    found = link_figures(graph, rest, held, np.ones((9, 3), np.float32), 0)
    assert found[UNIFORM] == found[MATCHED] == {}
