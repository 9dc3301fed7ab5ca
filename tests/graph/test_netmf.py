"""The method netmf: it equals the dense decomposition where that can be had, to the bit for any number of threads."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_graphs import communities, graph_of

from stonkgs.errors import UserError
from stonkgs.graph import netmf as module
from stonkgs.graph.graph import Graph
from stonkgs.graph.netmf import NetMF


def learned(graph: Graph, **settings: int) -> NDArray[np.float32]:
    """The vectors of a graph."""
    method = NetMF(walk_length=4, **settings)
    vectors = np.full((graph.nodes, method.dimension), np.nan, np.float32)
    method.learn(graph, vectors, np.empty((graph.nodes, 4), np.int32))
    return vectors


def decomposed(graph: Graph, dimension: int, window: int) -> NDArray[np.float32]:
    """The same before each vector is scaled."""
    vectors = np.empty((graph.nodes, dimension), np.float32)
    module._decompose(module._Edges(graph) if window == 1 else module._Square(graph, window), vectors, 0)
    return vectors


def matrix_of(graph: Graph, window: int) -> NDArray[np.float64]:
    """The formula of Qiu et al. 2018 for one negative sample, densely."""
    adjacency = np.zeros((graph.nodes, graph.nodes))
    adjacency[np.repeat(np.arange(graph.nodes), graph.degrees), graph.neighbours] = 1
    inverse = np.diag(1 / np.maximum(graph.degrees, 1))
    powers = sum(np.linalg.matrix_power(inverse @ adjacency, step) for step in range(1, window + 1))
    near = adjacency.sum() / window * powers @ inverse
    return np.asarray(np.log(np.maximum(near, 1)))


@pytest.mark.parametrize("window", [1, 3])
def test_it_is_the_decomposition_of_the_matrix(window: int) -> None:
    graph = communities(2, 8, degree=3)
    values, vectors = np.linalg.eigh(matrix_of(graph, window))
    order = np.abs(values).argsort()[::-1][:6]
    expected = vectors[:, order] * np.sqrt(np.abs(values[order]))
    found = decomposed(graph, 6, window)
    assert np.abs(np.abs(found) - np.abs(expected)).max() < 1e-3  # each column is known up to its sign
    assert (found[np.abs(found).argmax(axis=0), range(6)] > 0).all()
    scaled = learned(graph, dimension=6, window=window)
    assert np.abs(scaled - found / np.sqrt((found**2).mean(axis=1, keepdims=True))).max() < 1e-4


@pytest.mark.parametrize("window", [1, 3])
def test_in_larger_graphs_it_holds_almost_all_that_its_dimensions_can_hold(window: int) -> None:
    graph = communities(6, 30, degree=4)
    matrix = matrix_of(graph, window)
    span, _ = np.linalg.qr(decomposed(graph, 6, window))
    values = np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1]
    held = np.linalg.norm(span.T @ matrix @ span)
    assert held > 0.97 * np.linalg.norm(values[:6])


def test_with_all_dimensions_the_matrix_is_recovered() -> None:
    graph = communities(2, 10, degree=3)
    matrix = matrix_of(graph, 1)
    vectors = decomposed(graph, 20, 1).astype(float)
    signs = np.sign([column @ matrix @ column for column in vectors.T])
    product = (vectors * signs) @ vectors.T
    assert np.allclose(product * (matrix**2).sum() / (product * matrix).sum(), matrix, atol=1e-3)


@pytest.mark.parametrize("window", [1, 2])
def test_threads_and_blocks_change_no_bit(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = communities(4, 50, degree=4)
    threads, expected = torch.get_num_threads(), learned(graph, dimension=8, window=window)
    monkeypatch.setattr(module, "BLOCK", 333)
    torch.set_num_threads(3)
    try:
        assert learned(graph, dimension=8, window=window).tobytes() == expected.tobytes()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_vectors_of_small_graphs_have_no_digits_that_machines_disagree_on() -> None:
    vectors = learned(communities(2, 10, degree=3), dimension=5, window=2)
    assert (vectors == np.round(vectors, module.DECIMALS)).all()


def test_a_graph_of_few_nodes_has_zeros_beyond_its_rank() -> None:
    vectors = learned(graph_of(4, [(0, 1), (1, 2), (3, 3)]), dimension=8)
    assert np.isfinite(vectors).all()
    assert not vectors[3].any()  # it has no neighbour
    assert not vectors[:, 4:].any()
    assert vectors[:3].any(axis=1).all()


def test_a_graph_without_edges_has_zeros() -> None:
    assert not learned(graph_of(2, [(0, 0), (1, 1)]), dimension=4).any()


def test_a_matrix_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NODES", 10)
    graph = communities(2, 10, degree=3)
    with pytest.raises(UserError, match=r"window=2: takes a matrix of 20 x 20 .* largest window that fits is 1"):
        learned(graph, window=2)
    assert learned(graph, window=1, dimension=2).any()
