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
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Statement

#: Codes for positions of a graph half that hold no node. Node numbers are 0 or more.
UNKNOWN, SEPARATOR, MASK = -1, -2, -3

#: Number of special vectors (unknown, separator, mask), which a batch counts before its nodes.
SPECIALS = 3

#: The numbers that the first implementation gives to these codes: the tokens [UNK], [SEP], [MASK] of BERT.
PUBLISHED_NUMBERS = {UNKNOWN: 100, SEPARATOR: 102, MASK: 103}


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


def vector_rows(numbers: npt.NDArray[np.int32], *, legacy_node_shift: bool) -> npt.NDArray[np.int32]:
    """Returns the row of the store's vectors that is read for each node number. The special codes stay the same.

    Usually this is the node's own row. The first implementation reserved the numbers 100, 102 and 103 for the special
    vectors when it assigned the vectors, but not when it numbered the nodes. So from node 100 on it read a vector up to
    three rows off, or a special one. Its weights were trained so, and `legacy_node_shift` reproduces it.
    """
    if not legacy_node_shift:
        return numbers
    rows = np.where(numbers > PUBLISHED_NUMBERS[MASK], numbers - 3, numbers).astype(np.int32)
    for code, number in PUBLISHED_NUMBERS.items():
        rows[numbers == number] = code
    rows[numbers == 101] = 100
    return rows
