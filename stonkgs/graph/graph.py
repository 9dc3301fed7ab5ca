"""Holds a knowledge graph as arrays, which may be memory-mapped: the nodes' names, the edges, and the triples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """N nodes, E edges between two of them, T distinct triples of R relations.

    Edges have no direction: each is held once from either end, so that `neighbours` has 2 E entries. Self-loops are
    triples and no edges. Several relations between two nodes are several triples and one edge. A node of a self-loop
    alone has no neighbours, and is a node all the same.
    """

    #: uint8 [bytes]: the nodes' names in UTF-8, one after the other; node k is the k-th name that the input has
    names: NDArray[np.uint8]
    #: int64 [N + 1]: where each name starts in `names`
    name_offsets: NDArray[np.int64]
    #: int64 [N + 1]: where each node's neighbours start in `neighbours`
    starts: NDArray[np.int64]
    #: int32 [2 E]: the neighbours of each node, ascending
    neighbours: NDArray[np.int32]
    #: int32 [T, 3]: source, relation, target, sorted
    triples: NDArray[np.int32]
    #: the names of the relations; empty names are allowed
    relations: tuple[str, ...]
    #: SHA-256 of names, relations and triples
    digest: str

    @property
    def nodes(self) -> int:
        """N, the number of nodes."""
        return len(self.starts) - 1

    @property
    def edges(self) -> int:
        """E, the number of edges."""
        return len(self.neighbours) // 2

    @property
    def degrees(self) -> NDArray[np.int64]:
        """The number of neighbours of each node, int64 [N]."""
        return np.diff(self.starts)

    def adjacent(self, left: NDArray[np.integer[Any]], right: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Returns whether each two nodes [n] are neighbours, bool [n], by bisection of the left one's list."""
        low, stop = self.starts[left], self.starts[left + 1]
        high = stop.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            less = self.neighbours[np.minimum(middle, len(self.neighbours) - 1)] < right
            low, high = np.where(open_ & less, middle + 1, low), np.where(open_ & ~less, middle, high)
        found: NDArray[np.bool_] = low < stop
        found[found] = self.neighbours[low[found]] == right[found]
        return found

    def name(self, node: int) -> str:
        """Returns the name of a node."""
        return self.names[self.name_offsets[node] : self.name_offsets[node + 1]].tobytes().decode()
