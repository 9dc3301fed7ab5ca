"""The method node2vec: its gradients are those of the loss, and it learns which nodes are near."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_graphs import communities, graph_of
from torch.nn import functional

from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.node2vec import Node2Vec
from stonkgs.graph.skipgram import _Strips


def learned(graph: Graph, method: Node2Vec) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vectors and walks of a graph."""
    vectors = np.full((graph.nodes, method.dimension), np.nan, np.float32)
    walks = np.empty((graph.nodes, method.walk_length), np.int32)
    method.learn(graph, vectors, walks)
    return vectors, walks


@pytest.mark.parametrize(("length", "window"), [(1, 1), (5, 2), (32, 1), (70, 4), (127, 40)])
def test_gradients_are_those_of_the_pairs_in_the_windows(length: int, window: int) -> None:
    torch.manual_seed(0)
    centre, context = torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True)
    centre.retain_grad()
    context.retain_grad()
    loss = torch.zeros((), dtype=torch.float64)
    for distance in range(1, min(window, length - 1) + 1):
        for left, right in ((centre, context), (context, centre)):
            scores = (left[:, :-distance] * right[:, distance:]).sum(dim=2)
            loss = loss - (window + 1 - distance) / window * functional.logsigmoid(scores).sum()
    expected = torch.autograd.grad(loss, (centre, context)) if loss.requires_grad else (torch.zeros_like(centre),) * 2
    found = _Strips(length, window).gradients(centre.detach(), context.detach())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_nodes_of_a_community_are_nearer_than_others() -> None:
    graph = communities(4, 25, degree=6)
    vectors = learned(graph, Node2Vec(dimension=16, walk_length=40, window=5, epochs=5, learning_rate=0.05))[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    groups = np.arange(100) // 25
    same = groups[:, None] == groups
    inside, outside = near[same & ~np.eye(100, dtype=bool)], near[~same]
    auc = (inside[:, None] > outside[None, ::7]).mean()
    assert auc > 0.9


def test_equal_settings_give_equal_bits_for_any_number_of_threads() -> None:
    graph = communities(3, 20, degree=4)
    method = Node2Vec(dimension=8, walk_length=12, walks_per_node=2, epochs=2, p=0.5, q=2.0)
    threads, (vectors, walks) = torch.get_num_threads(), learned(graph, method)
    torch.manual_seed(99)  # the global generator plays no part
    torch.set_num_threads(3)
    try:
        again = learned(graph, method)
    finally:
        torch.set_num_threads(threads)
    assert vectors.tobytes() == again[0].tobytes()
    assert walks.tobytes() == again[1].tobytes()
    other = learned(graph, Node2Vec(dimension=8, walk_length=12, walks_per_node=2, epochs=2, p=0.5, q=2.0, seed=1))
    assert vectors.tobytes() != other[0].tobytes()


def test_vectors_have_the_usual_size_and_nodes_without_neighbours_none() -> None:
    vectors, walks = learned(graph_of(4, [(0, 1), (1, 2), (3, 3)]), Node2Vec(dimension=4, walk_length=6))
    assert not vectors[3].any()
    assert (walks[3] == -1).all()
    assert np.isclose((vectors[:3] ** 2).mean(), 1, atol=1e-4)
    assert not learned(graph_of(2, [(0, 0)]), Node2Vec(dimension=4, walk_length=6))[0].any()


def test_numbers_that_are_not_finite_are_refused() -> None:
    graph = communities(2, 10, degree=3)
    method = Node2Vec(dimension=4, walk_length=8)
    method.learning_rate = float("nan")
    with pytest.raises(UserError, match=r"not finite numbers; lower method\.learning_rate"):
        learned(graph, method)


def test_settings_are_what_the_yaml_may_say() -> None:
    assert Node2Vec(window=3).settings["window"] == 3
    with pytest.raises(UserError, match=r"method\.p=0: must be a number from 0\.01 to 100"):
        Node2Vec(p=0)
