"""The method `netmf`: a sparse matrix factorisation. It takes seconds and needs no further package."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stonkgs.config.values import Count, Whole, checked
from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.method import Method
from stonkgs.graph.vectors import BLOCK as ROWS
from stonkgs.graph.vectors import normalise, one_thread

#: How many entries of a matrix are handled at a time.
BLOCK = 1 << 22
#: The most nodes for windows over 1, whose matrix has few zeros: 512 MB.
MOST_NODES = 8192
#: Decimals of the vectors of such a matrix: the ones behind them would differ from machine to machine.
DECIMALS = 4
#: Columns beyond the dimension, and rounds, of the randomized decomposition.
SPARE, ROUNDS = 10, 4


class NetMF(Method):
    """Factorises the matrix that DeepWalk factorises implicitly (Qiu et al. 2018, algorithm 3, one negative sample).

    With the adjacency A, the degrees D, their sum vol, and T = `window`, it is M = log max(1, vol / T D^-1 sum(P^r)),
    r = 1..T, P = A D^-1. A vector is a row of U |S|^(1/2), where M = U S U' has been cut to the D values of largest
    size; each is then scaled to a mean square of 1. With a window of 1 only edges have entries, and any graph will do.
    Where M has a lower rank than D, the last numbers of all vectors are 0. Equal settings give equal bits on one
    machine, whatever the number of threads; with a window over 1, which is for small graphs, on all machines.
    """

    name = "netmf"

    @checked("method")
    def __init__(
        self,
        *,
        dimension: Count = 64,
        window: Count = 1,
        walk_length: Count = 127,
        walks_per_node: Count = 1,
        seed: Whole = 0,
    ) -> None:
        super().__init__(dimension=dimension, walk_length=walk_length, walks_per_node=walks_per_node, seed=seed)
        self.window = window

    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        if self.window > 1 and graph.nodes > MOST_NODES:
            raise UserError(
                f"method.window={self.window}: takes a matrix of {graph.nodes:,} x {graph.nodes:,} numbers, and more "
                f"than {MOST_NODES:,} nodes do not fit; the largest window that fits is 1"
            )
        with one_thread():
            matrix = _Edges(graph) if self.window == 1 else _Square(graph, self.window)
            _decompose(matrix, vectors, self.seed)
        normalise(vectors)
        if self.window > 1:
            np.round(vectors, DECIMALS, out=vectors)
        self.walks.fill(graph, walks)


class _Edges:
    """M for a window of 1: log(vol / (d_i d_j)) of each edge, worked out where it is used."""

    dtype = torch.float32

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self._logs = np.log(np.maximum(graph.degrees, 1))
        self._volume = np.log(max(1, len(graph.neighbours)))

    def times(self, right: Tensor) -> Tensor:
        """Returns M @ right, float32 [N, K]. A row is added up in the order of the neighbours."""
        product = torch.empty_like(right)
        for start, stop in _edge_blocks(self.graph.starts):
            first, last = int(self.graph.starts[start]), int(self.graph.starts[stop])
            others = np.array(self.graph.neighbours[first:last])
            own = np.repeat(self._logs[start:stop], self.graph.degrees[start:stop])
            values = np.maximum(self._volume - own - self._logs[others], 0).astype(np.float32)
            offsets = np.array(self.graph.starts[start:stop]) - first
            product[start:stop] = _sums(right, others, offsets, values)
        return product


class _Square:
    """M for any window, all of it in memory."""

    dtype = torch.float64

    def __init__(self, graph: Graph, window: int) -> None:
        self.nodes = graph.nodes
        self._matrix = torch.empty(graph.nodes, graph.nodes, dtype=self.dtype)
        inverse = torch.from_numpy(1 / np.maximum(graph.degrees, 1)).unsqueeze(1)
        others, offsets = np.array(graph.neighbours), np.array(graph.starts[:-1])
        ones = np.ones(len(others))
        width = max(1, BLOCK // graph.nodes)
        for start in range(0, graph.nodes, width):
            # Columns of D^-1 (A D^-1)^r, from those of the unit matrix.
            reached = torch.eye(graph.nodes, dtype=torch.float64)[:, start : start + width] * inverse
            total = torch.zeros_like(reached)
            for _ in range(window):
                reached = _sums(reached.contiguous(), others, offsets, ones) * inverse
                total += reached
            near = total * (len(others) / window)
            self._matrix[:, start : start + width] = near.clamp(min=1).log()

    def times(self, right: Tensor) -> Tensor:
        """Returns M @ right, float64 [N, K]."""
        return self._matrix @ right


def _sums(right: Tensor, others: NDArray[np.int32], offsets: NDArray[np.int64], values: NDArray[np.floating]) -> Tensor:
    """Returns sparse rows times `right`. It takes half the time of a product with torch's sparse matrices."""
    if not len(others):
        return right.new_zeros(len(offsets), right.shape[1])
    return functional.embedding_bag(
        torch.from_numpy(others).long(),
        right,
        torch.from_numpy(offsets),
        mode="sum",
        per_sample_weights=torch.from_numpy(values),
    )


def _edge_blocks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yields ranges of nodes that have about BLOCK entries together; a node's are never cut."""
    start, nodes = 0, len(starts) - 1
    while start < nodes:
        stop = int(np.searchsorted(starts, starts[start] + BLOCK, "right")) - 1
        stop = min(nodes, max(start + 1, stop))
        yield start, stop
        start = stop


def _decompose(matrix: _Edges | _Square, vectors: NDArray[np.float32], seed: int) -> None:
    """Fill `vectors` by a randomized decomposition of the symmetric matrix (Halko, Martinsson, Tropp 2011, 5.3)."""
    width = min(matrix.nodes, vectors.shape[1] + SPARE)
    random = np.random.default_rng(seed)
    basis = torch.from_numpy(random.standard_normal((matrix.nodes, width), np.float32)).to(matrix.dtype)
    for _ in range(2 * ROUNDS):
        basis = _orthonormal(matrix.times(basis))
    small = _gram(basis, matrix.times(basis))
    values, turns = torch.linalg.eigh((small + small.T) / 2)
    order = values.abs().argsort(descending=True)[: vectors.shape[1]]
    turns = turns[:, order] * values[order].abs().sqrt()
    vectors[:, len(order) :] = 0
    for start in range(0, matrix.nodes, ROWS):
        block = basis[start : start + ROWS].double() @ turns
        vectors[start : start + ROWS, : len(order)] = block.float().numpy()
    _fix_signs(vectors)


def _orthonormal(columns: Tensor) -> Tensor:
    """Returns orthonormal columns [N, K] of the same span, zeros where its rank is lower. `columns` is overwritten.

    They come from the eigenvectors of their products, twice for the precision: this needs no further copy.
    """
    for _ in range(2):
        values, turns = torch.linalg.eigh(_gram(columns, columns))
        usable = values > values.max().clamp(min=1e-300) * 1e-12
        turns = (turns * torch.where(usable, values.clamp(min=1e-300).rsqrt(), 0)).to(columns.dtype)
        for start in range(0, len(columns), ROWS):
            columns[start : start + ROWS] = columns[start : start + ROWS] @ turns
    return columns


def _gram(left: Tensor, right: Tensor) -> Tensor:
    """Returns left' @ right, float64 [K, K]."""
    total = torch.zeros(left.shape[1], right.shape[1], dtype=torch.float64)
    for start in range(0, len(left), ROWS):
        total += left[start : start + ROWS].double().T @ right[start : start + ROWS].double()
    return total


def _fix_signs(vectors: NDArray[np.float32]) -> None:
    """Give each column the sign with which its number of largest size is positive: a decomposition leaves it open."""
    largest = np.zeros(vectors.shape[1], np.float32)
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS]
        found = block[np.abs(block).argmax(axis=0), np.arange(block.shape[1])]
        largest = np.where(np.abs(found) > np.abs(largest), found, largest)
    for start in range(0, len(vectors), ROWS):
        vectors[start : start + ROWS] *= np.where(largest < 0, np.float32(-1), np.float32(1))
