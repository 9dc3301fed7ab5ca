"""The input `walks`: two node names to the node numbers of their walks, and those to rows of vectors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.encode.inputs import Arrays, Input, Tensors, integers
from stonkgs.encode.nodes import Nodes
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Statement

#: What stands in a graph half where no node of the store does; a node's own number is 0 or more.
UNKNOWN, SEPARATOR, MASK = -1, -2, -3

#: A batch counts the special vectors first (unknown, separator, mask), then its distinct nodes.
SPECIALS = 3

#: The published numbers of those, which are the token numbers of BERT's [UNK], [SEP] and [MASK].
PUBLISHED = {UNKNOWN: 100, SEPARATOR: 102, MASK: 103}


class Walks(Input):
    """The random walks of source and target, as rows of the store's vectors.

    Arrays of B rows, G = 2 x walk length + 2: `nodes`, int32 [M], distinct rows of the vectors; `graph`, int32 [B, G],
    0 unknown, 1 separator, 2 mask, SPECIALS + k for `nodes[k]`. Tensors: `vectors`, float [M, D], those of `nodes`;
    `graph`, int64.
    """

    def __init__(self, nodes: Nodes, *, legacy_node_shift: bool = False) -> None:
        self.nodes = nodes
        self.kge = nodes.kge
        self.legacy_node_shift = legacy_node_shift

    def encode(self, statements: Sequence[Statement]) -> list[npt.NDArray[np.int32]]:
        """int32 [G] each: rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK."""
        return [self._rows(statement) for statement in statements]

    def _rows(self, statement: Statement) -> npt.NDArray[np.int32]:
        source, target = self.nodes.find(statement.source)[0], self.nodes.find(statement.target)[0]
        return vector_rows(graph_half(self.kge, source, target), legacy_node_shift=self.legacy_node_shift)

    def vectors(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """float32 [G, D], gathered from the memory map; zeros where no node of the store stands."""
        vectors = np.zeros((len(rows), self.kge.dimension), np.float32)
        vectors[rows >= 0] = self.kge.gather(rows[rows >= 0])
        return vectors

    def collate(self, values: Sequence[npt.NDArray[np.int32]]) -> Arrays:
        """Each distinct node once: numbers go through a worker's pipe, not vectors."""
        rows = np.stack(values)
        nodes = np.unique(rows[rows >= 0])
        graph = np.where(rows < 0, -1 - rows, np.searchsorted(nodes, rows) + SPECIALS).astype(np.int32)
        return {"nodes": nodes, "graph": graph}

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        """The vectors are gathered from the store's map just in time."""
        vectors = torch.from_numpy(self.kge.gather(arrays["nodes"])).to(weight)
        return {"vectors": vectors, **integers(arrays, ("graph",), weight)}


def graph_half(kge: KgeStore, source: int, target: int) -> npt.NDArray[np.int32]:
    """walk(source), SEPARATOR, walk(target), SEPARATOR: int32 [2 L + 2] node numbers.

    A node that is unknown (-1), or has no walk, gives L times UNKNOWN.
    """
    half = np.full(2 * kge.walk_length + 2, SEPARATOR, np.int32)
    for node, place in ((source, half[: kge.walk_length]), (target, half[kge.walk_length + 1 : -1])):
        # The store fills a missing walk with -1, which is UNKNOWN.
        place[:] = kge.walk(node) if node >= 0 else UNKNOWN
    return half


def vector_rows(numbers: npt.NDArray[np.int32], *, legacy_node_shift: bool) -> npt.NDArray[np.int32]:
    """The row of the store's vectors that stands for each node number; UNKNOWN, SEPARATOR and MASK stay as they are.

    The first implementation kept the numbers 100, 102 and 103 free for the special vectors when it assigned the
    vectors, but not when it numbered the nodes. From node 100 on, each node is read with a vector up to three places
    off, or with a special one. Its weights were trained so; with `legacy_node_shift` they find what they expect.
    """
    if not legacy_node_shift:
        return numbers
    rows = np.where(numbers > PUBLISHED[MASK], numbers - 3, numbers).astype(np.int32)
    for code, number in PUBLISHED.items():
        rows[numbers == number] = code
    rows[numbers == 101] = 100
    return rows


def published_numbers(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The graph half as the first implementation writes it into `input_ids`: UNKNOWN is 100, SEPARATOR is 102."""
    published = numbers.copy()
    for code, number in PUBLISHED.items():
        published[numbers == code] = number
    return published
