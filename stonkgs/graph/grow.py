"""Gives new nodes of a graph vectors and walks from the nodes that a store has already."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.vectors import mean_square
from stonkgs.graph.walks import BLOCK, WalkRule

#: How many numbers of vectors are added up at a time.
NUMBERS = 1 << 22

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """A graph of M nodes, and where they stand in a store that holds `old` nodes before it grows."""

    graph: Graph
    #: int64 [M]: the number of each node in the store
    numbers: Ints
    #: int64 [M]: which row of the store's vectors is read for each; -1 if that is none of a node
    rows: Ints
    #: the number of nodes of the store before
    old: int

    @property
    def new(self) -> Flags:
        """Which nodes are new, bool [M]."""
        return self.numbers >= self.old

    def fill_vectors(self, vectors: NDArray[np.floating]) -> int:
        """Write the vectors of new nodes into the store's, whose other rows are there already.

        A node's vector has the direction of the mean of its neighbours' vectors: of those in the store first, then,
        step by step, of new ones that have got theirs. It has the length that is usual in the store. Nodes from which
        no known one can be reached have zeros. Returns how many these are. Raises UserError where the store's vectors
        are not finite numbers, or are too large.
        """
        length = np.sqrt(mean_square(vectors[: self.old]) * vectors.shape[1])
        _check_finite(length)
        known = self._known(vectors)
        waiting = self.new
        vectors[self.rows[waiting]] = 0
        reached = self._next(np.flatnonzero(known), waiting)
        while len(reached):
            waiting[reached] = False
            for nodes, others in _edges(self.graph, reached, NUMBERS // vectors.shape[1]):
                self._fill(nodes, others, known, vectors, length)
            known[reached] = vectors[self.rows[reached]].any(axis=1)
            reached = self._next(reached, waiting)
        return int((self.new & ~known).sum())

    def _known(self, vectors: NDArray[np.floating]) -> Flags:
        """Returns which nodes of the store have a vector that is not zeros."""
        known = ~self.new & (self.rows >= 0)
        candidates = np.flatnonzero(known)
        for start in range(0, len(candidates), BLOCK):
            some = candidates[start : start + BLOCK]
            known[some] = vectors[self.rows[some]].any(axis=1)
        return known

    def _next(self, nodes: Ints, waiting: Flags) -> Ints:
        """Returns the nodes among `waiting` that are neighbours of some nodes, ascending."""
        met = [np.unique(others[waiting[others]]) for _, others in _edges(self.graph, nodes, NUMBERS // 16)]
        return np.unique(np.concatenate(met)) if met else np.zeros(0, np.int64)

    def _fill(self, nodes: Ints, others: Ints, known: Flags, vectors: NDArray[np.floating], length: float) -> None:
        """Write the vectors of some nodes; `nodes` and `others` are the ends of all of their edges, by node."""
        nodes, others = nodes[known[others]], others[known[others]]
        found, firsts = np.unique(nodes, return_index=True)
        size = max(1, NUMBERS // vectors.shape[1])
        sums = np.zeros((len(found), vectors.shape[1]))
        for start in range(0, len(nodes), size):  # one node may have more neighbours than fit
            stop = min(start + size, len(nodes))
            inside = np.flatnonzero((firsts < stop) & (np.append(firsts[1:], len(nodes)) > start))
            part = vectors[self.rows[others[start:stop]]].astype(np.float64)
            sums[inside] += np.add.reduceat(part, np.maximum(firsts[inside] - start, 0), axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        with np.errstate(over="ignore"):
            vectors[self.rows[found]] = sums * np.divide(length, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        _check_finite(vectors[self.rows[found]])

    def fill_walks(self, rule: WalkRule, walks: NDArray[np.int32]) -> int:
        """Write the walks of new nodes into the store's. Returns how many have none, for want of neighbours.

        A walk is drawn over the graph until it meets a node of the store that has a walk, and goes on as that one: so
        it also takes edges that only the store's own graph had.
        """
        added, without = np.flatnonzero(self.new), 0
        for start in range(0, len(added), BLOCK):
            nodes = added[start : start + BLOCK]
            drawn = rule.draw(self.graph, nodes)
            rows = np.where(drawn < 0, -1, self.numbers[drawn]).astype(np.int32)
            length = rule.length // rule.per_node
            for place in range(0, rule.length, length):
                self._go_on(rows[:, place : place + length], walks[:, place : place + length])
            walks[self.numbers[nodes]] = rows
            without += int((rows[:, 0] < 0).sum())
        return without

    def _go_on(self, rows: NDArray[np.int32], walks: NDArray[np.int32]) -> None:
        """Replace in rows [n, l] what follows the first node that has a walk in `walks` [N, l] by that walk."""
        old = (rows >= 0) & (rows < self.old)
        old[old] = walks[rows[old], 0] >= 0
        row = np.flatnonzero(old.any(axis=1))
        place = old[row].argmax(axis=1)
        met = rows[row, place]
        found = walks[met]
        # A walk of ours starts at its node; where another does not, its node stands before it.
        along = np.arange(rows.shape[1]) - place[:, None] - (found[:, 0] != met)[:, None]
        rows[row] = np.where(along < 0, rows[row], np.take_along_axis(found, np.maximum(along, 0), axis=1))


def _check_finite(numbers: NDArray[np.floating] | float) -> None:
    if not np.isfinite(numbers).all():
        raise UserError("vectors of the store are not finite numbers, or are too large to grow from; learn them anew")


def _edges(graph: Graph, nodes: Ints, most: int) -> Iterator[tuple[Ints, Ints]]:
    """Yields both ends of the edges of some nodes, int64 [n] each, about `most` at a time; a node's stay together."""
    counts = graph.starts[nodes + 1] - graph.starts[nodes]
    ends = np.cumsum(counts)
    start = done = 0
    while start < len(nodes):
        stop = max(start + 1, int(np.searchsorted(ends, done + most, "right")))
        some, degrees = nodes[start:stop], counts[start:stop]
        offsets = np.repeat(graph.starts[some] - (np.cumsum(degrees) - degrees), degrees)
        yield np.repeat(some, degrees), graph.neighbours[offsets + np.arange(len(offsets))].astype(np.int64)
        start, done = stop, int(ends[stop - 1])
