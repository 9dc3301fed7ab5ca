"""Draws random walks over a graph. A walk depends on the graph, the settings and its node, and on no other walk."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stonkgs.config.values import Range
from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.protocol import GOLDEN, mixed

#: How many walks are drawn at a time. It bounds the memory and changes no walk.
BLOCK = 16384

#: node2vec's p and q. Beyond these bounds almost every proposed step is rejected.
Bias = Annotated[float, Range(0.01, 100)]

Nodes = NDArray[np.int64]
Numbers = NDArray[np.uint64]

_GOLDEN = np.uint64(GOLDEN)


@dataclass(frozen=True, slots=True)
class WalkRule:
    """Says how the row of a node in `walks` is drawn: `per_node` walks one after the other, of `length` nodes together.

    Each walk starts at its node. Steps are those of node2vec (Grover and Leskovec 2016): from a node v that was reached
    from t, a neighbour x has the weight 1/p if it is t, 1 if it is a neighbour of t, and 1/q otherwise. The first step,
    and all steps with p = q = 1, are uniform. A node without neighbours has -1 in all places. Raises UserError if
    `length` does not divide by `per_node`.
    """

    length: int
    per_node: int
    seed: int
    p: float = 1
    q: float = 1

    def __post_init__(self) -> None:
        if self.length % self.per_node:
            raise UserError(
                f"method.walk_length={self.length}: does not divide into method.walks_per_node={self.per_node}; "
                "each of these walks has an equal share of the row"
            )

    def fill(self, graph: Graph, walks: NDArray[np.int32]) -> None:
        """Draw the row of each node into `walks` [N, length]."""
        for start in range(0, graph.nodes, BLOCK):
            nodes = np.arange(start, min(start + BLOCK, graph.nodes))
            walks[start : start + BLOCK] = self.draw(graph, nodes)

    def draw(self, graph: Graph, nodes: Nodes) -> NDArray[np.int32]:
        """Returns the rows of some nodes [n], int32 [n, length]."""
        rows = np.full((len(nodes), self.length), -1, np.int32)
        moving = np.flatnonzero(graph.starts[nodes + 1] > graph.starts[nodes])
        first = nodes[moving].astype(np.int64)
        keys = mixed(mixed(first.astype(np.uint64) + _GOLDEN) ^ np.uint64(self.seed))
        drawn = np.empty((self.length, len(moving)), np.int32)  # a step writes one stretch of memory
        here = before = first
        for place in range(self.length):
            since = place % (self.length // self.per_node)
            if since == 0:
                here = first
            elif since == 1 or self.p == self.q == 1:
                before, here = here, _uniform(graph, here, keys, place)
            else:
                before, here = here, self._biased(graph, before, here, keys, place)
            drawn[place] = here
        rows[moving] = drawn.T
        return rows

    def _biased(self, graph: Graph, before: Nodes, here: Nodes, keys: Numbers, place: int) -> Nodes:
        """Returns the next nodes, by rejection (KnightKing, Yang et al. 2019): a proposal is kept in w / most of cases.

        Where 1/p is the largest weight, its part above the others is drawn beforehand. So a common step is kept with
        more than q or 1/q of probability, however many neighbours there are.
        """
        most, back = max(1, 1 / self.q), 1 / self.p
        reached, waiting, attempt = here.copy(), np.arange(len(here)), 0
        while len(waiting):
            at, previous = here[waiting], before[waiting]
            first = graph.starts[at]
            degrees = graph.starts[at + 1] - first
            # One number chooses the neighbour by its whole part, and whether it is kept by its fraction.
            drawn = _fractions(keys[waiting], place, attempt) * (degrees + max(0, back / most - 1))
            choice = np.minimum(drawn.astype(np.int64), degrees - 1)
            proposed = graph.neighbours[first + choice].astype(np.int64)
            returns = drawn >= degrees
            proposed[returns] = previous[returns]
            kept = returns | self._kept(graph, previous, proposed, (drawn - choice) * most)
            reached[waiting[kept]] = proposed[kept]
            waiting, attempt = waiting[~kept], attempt + 1
        return reached

    def _kept(self, graph: Graph, previous: Nodes, proposed: Nodes, height: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Returns whether `height` is below the weight of each proposal. Edges are looked up only where they count."""
        near, far = 1.0, 1 / self.q
        kept = height < min(near, far)
        unclear = np.flatnonzero(~kept & (height < max(near, far)))
        kept[unclear] = graph.adjacent(previous[unclear], proposed[unclear]) == (near > far)
        same = proposed == previous
        kept[same] = height[same] < 1 / self.p
        return kept


def _uniform(graph: Graph, here: Nodes, keys: Numbers, place: int) -> Nodes:
    first = graph.starts[here]
    degrees = graph.starts[here + 1] - first
    # The fraction is below 1, and its product with 2**31 at most is exact enough to stay below the degree.
    return graph.neighbours[first + (_fractions(keys, place, 0) * degrees).astype(np.int64)].astype(np.int64)


def _fractions(keys: Numbers, place: int, attempt: int) -> NDArray[np.float64]:
    """Returns a random number from 0 to below 1 for each key, by its place in the row and the attempt."""
    counter = np.array([attempt * 2**32 + place + 1], np.uint64)
    numbers = (mixed(keys + counter * _GOLDEN) >> np.uint64(11)).astype(np.float64)
    numbers *= 2.0**-53
    return numbers
