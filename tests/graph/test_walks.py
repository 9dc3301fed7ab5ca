"""Walks: each step is an edge, drawn with node2vec's probabilities, and the same for any split into blocks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_graphs import communities, graph_of

from stonkgs.errors import UserError
from stonkgs.graph import walks as module
from stonkgs.graph.graph import Graph
from stonkgs.graph.walks import WalkRule

NODES = 12
EDGES = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=40)
#: 0 has the neighbours 1, 2, 3; of these 1 and 2 are neighbours of each other, and 3 leads to 4.
SMALL = [(0, 1), (0, 2), (0, 3), (1, 2), (3, 4), (4, 4)]


def drawn(graph: Graph, rule: WalkRule) -> NDArray[np.int32]:
    """The walks of all nodes."""
    walks = np.full((graph.nodes, rule.length), -7, np.int32)
    rule.fill(graph, walks)
    return walks


@given(
    edges=EDGES, biases=st.sampled_from([(1.0, 1.0), (0.01, 1.0), (4.0, 0.25), (0.1, 100.0)]), seed=st.integers(0, 9)
)
def test_each_step_is_an_edge_and_each_walk_starts_at_its_node(
    edges: list[tuple[int, int]], biases: tuple[float, float], seed: int
) -> None:
    graph = graph_of(NODES, edges)
    both = {(a, b) for pair in edges for a, b in (pair, pair[::-1]) if a != b}
    for node, row in enumerate(drawn(graph, WalkRule(8, 2, seed, *biases)).tolist()):
        if not graph.degrees[node]:
            assert row == [-1] * 8
            continue
        for walk in (row[:4], row[4:]):
            assert walk[0] == node
            assert set(pairwise(walk)) <= both


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.05, 1.0), (4.0, 0.25), (0.25, 4.0), (20.0, 8.0)])
def test_steps_have_the_probabilities_of_node2vec(p: float, q: float) -> None:
    """From 0, where the walk has come from 1: back to 1, to its neighbour 2, or away to 3."""
    copies = 4000
    graph = graph_of(5 * copies, [(5 * copy + a, 5 * copy + b) for copy in range(copies) for a, b in SMALL])
    rows = drawn(graph, WalkRule(12, 1, 0, p, q)) % 5
    after = rows[:, 2:][(rows[:, :-2] == 1) & (rows[:, 1:-1] == 0)]
    counts = np.bincount(after, minlength=5)
    weights = np.array([1 / p, 1, 1 / q])
    expected = len(after) * weights / weights.sum()
    assert len(after) > 5000
    assert counts.sum() == counts[1:4].sum()
    assert float(((counts[1:4] - expected) ** 2 / expected).sum()) < 13.8  # two degrees of freedom, p = 0.001


def test_the_first_step_of_each_walk_is_uniform() -> None:
    graph = graph_of(5, SMALL)
    rules = [WalkRule(4, 2, seed, 0.05, 8) for seed in range(3000)]
    steps = np.concatenate([rule.draw(graph, np.zeros(1, int))[0, [1, 3]] for rule in rules])
    counts = np.bincount(steps, minlength=4)
    assert counts[0] == 0
    assert float(((counts[1:] - 2000) ** 2 / 2000).sum()) < 13.8


@pytest.mark.parametrize("biases", [(1.0, 1.0), (0.5, 2.0)])
def test_blocks_and_the_order_of_nodes_change_no_walk(
    biases: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = communities(3, 20, degree=3)
    rule = WalkRule(30, 1, 5, *biases)
    walks = drawn(graph, rule)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert np.array_equal(drawn(graph, rule), walks)
    some = np.array([41, 3, 3, 17])
    assert np.array_equal(rule.draw(graph, some), walks[some])
    assert not np.array_equal(drawn(graph, replace(rule, seed=6)), walks)


@given(edges=EDGES)
def test_neighbours_are_found_by_bisection(edges: list[tuple[int, int]]) -> None:
    graph = graph_of(NODES, edges)
    left, right = map(np.ravel, np.meshgrid(np.arange(NODES), np.arange(NODES)))
    found = graph.adjacent(left, right)
    both = {(a, b) for pair in edges for a, b in (pair, pair[::-1]) if a != b}
    assert [(a, b) in both for a, b in zip(left.tolist(), right.tolist(), strict=True)] == found.tolist()


def test_a_row_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"walk_length=127: does not divide into method\.walks_per_node=2"):
        WalkRule(127, 2, 0)
