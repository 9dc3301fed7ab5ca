"""The input `walks`: turns the two nodes of a statement into rows of the store's vectors, by their random walks.

`GraphHalf` is what it shares with every other input that is made of the store's vectors.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.encode.inputs import Arrays, Input, Tensors, integers
from stonkgs.encode.nodes import Nodes
from stonkgs.kge.shift import SEPARATOR, UNKNOWN, vector_rows
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Statement

#: Number of special vectors (unknown, separator, mask), which a batch counts before its nodes.
SPECIALS = 3


#: What is encoded of one statement.
Value = TypeVar("Value")


class GraphHalf(Input, Generic[Value]):
    """G rows of the store's vectors for each statement.

    Arrays for B rows: `nodes`, int32 [M], the distinct rows of vectors; `graph`, int32 [B, G]: 0 unknown, 1 separator,
    2 mask, SPECIALS + k for `nodes[k]`. Tensors: `vectors`, float [M, D], the vectors of `nodes`; `graph`, int64.
    """

    def __init__(self, nodes: Nodes, *, legacy_node_shift: bool = False) -> None:
        self.nodes = nodes
        self.kge = nodes.kge
        self.legacy_node_shift = legacy_node_shift

    @abstractmethod
    def encode(self, statements: Sequence[Statement]) -> list[Value]:
        """Returns a value for each statement, which has int32 [G]: rows of vectors, or UNKNOWN, SEPARATOR, MASK."""

    def vectors(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Returns the vectors of rows [G], float32 [G, D], read from the memory map; zeros for special rows."""
        vectors = np.zeros((len(rows), self.kge.dimension), np.float32)
        vectors[rows >= 0] = self.kge.gather(rows[rows >= 0])
        return vectors

    @staticmethod
    def collated(values: Sequence[npt.NDArray[np.int32]]) -> Arrays:
        """Hold each distinct node once. Only numbers pass through a worker's pipe, no vectors."""
        rows = np.stack(values)
        nodes = np.unique(rows[rows >= 0])
        graph = np.where(rows < 0, -1 - rows, np.searchsorted(nodes, rows) + SPECIALS).astype(np.int32)
        return {"nodes": nodes, "graph": graph}

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        """Read the vectors from the store's map."""
        vectors = torch.from_numpy(self.kge.gather(arrays["nodes"])).to(weight)
        return {"vectors": vectors, **integers(arrays, ("graph",), weight)}


class Walks(GraphHalf[npt.NDArray[np.int32]]):
    """The random walks of source and target: a `GraphHalf` of G = 2 x walk length + 2."""

    def encode(self, statements: Sequence[Statement]) -> list[npt.NDArray[np.int32]]:
        """Returns int32 [G] for each statement: rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK."""
        return [self._rows(statement) for statement in statements]

    def _rows(self, statement: Statement) -> npt.NDArray[np.int32]:
        source, target = self.nodes.find(statement.source)[0], self.nodes.find(statement.target)[0]
        return vector_rows(graph_half(self.kge, source, target), legacy_node_shift=self.legacy_node_shift)

    def collate(self, values: Sequence[npt.NDArray[np.int32]]) -> Arrays:
        return self.collated(values)


def graph_half(kge: KgeStore, source: int, target: int) -> npt.NDArray[np.int32]:
    """Returns walk(source), SEPARATOR, walk(target), SEPARATOR: node numbers, int32 [2 L + 2].

    A node that is unknown (-1) or has no walk gives UNKNOWN, L times.
    """
    half = np.full(2 * kge.walk_length + 2, SEPARATOR, np.int32)
    for node, place in ((source, half[: kge.walk_length]), (target, half[kge.walk_length + 1 : -1])):
        # The store marks a missing walk by -1, which equals UNKNOWN.
        place[:] = kge.walk(node) if node >= 0 else UNKNOWN
    return half
