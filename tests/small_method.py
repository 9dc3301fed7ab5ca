"""A method of learning vectors that tests can follow: the leading eigenvectors of a small graph's adjacency matrix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stonkgs.graph.graph import Graph
from stonkgs.graph.method import Method


class Spectral(Method):
    """Vectors are eigenvectors times the roots of their eigenvalues; a walk stays with the first neighbour."""

    name = "spectral"

    def __init__(self, *, dimension: int = 4, walk_length: int = 3, seed: int = 0, scale: float = 1.0) -> None:
        self.dimension, self.walk_length, self.seed, self.scale = dimension, walk_length, seed, scale
        #: the graphs that it has seen: names of nodes, and edges by name
        self.seen: list[set[frozenset[str]]] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {"dimension": self.dimension, "walk_length": self.walk_length, "scale": self.scale}

    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        nodes = np.repeat(np.arange(graph.nodes), graph.degrees)
        self.seen.append(
            {frozenset(map(graph.name, pair)) for pair in zip(nodes.tolist(), graph.neighbours.tolist(), strict=True)}
        )
        adjacency = np.zeros((graph.nodes, graph.nodes))
        adjacency[nodes, graph.neighbours] = 1
        values, leading = np.linalg.eigh(adjacency)
        width = min(self.dimension, graph.nodes)
        order = np.argsort(-np.abs(values))[:width]
        with np.errstate(over="ignore"):
            vectors[: graph.nodes, :width] = self.scale * leading[:, order] * np.sqrt(np.abs(values[order]))
        walks[:] = -1
        known = graph.degrees > 0
        walks[known] = graph.neighbours[graph.starts[:-1][known]][:, None]


class Relational(Spectral):
    """The same, with a vector of ones for each relation."""

    name = "relational"
    learns_relations = True

    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        super().learn(graph, vectors, walks)
        vectors[graph.nodes :] = 1
