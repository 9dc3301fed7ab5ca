"""Defines what a method of learning embeddings is: it fills the vectors and the walks of a store."""

from abc import ABC, abstractmethod
from inspect import signature
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stonkgs.config import Stage
from stonkgs.graph.graph import Graph
from stonkgs.graph.walks import WalkRule


class Method(Stage, ABC):
    """Learns a vector for each node of a graph, and draws a walk from each. Equal settings give equal results.

    A subclass has a yaml in `configs/method/`, whose keys are its settings. All of it works on arrays that may be
    memory-mapped, at a memory that does not grow with the walks.
    """

    #: its name in `method=` and in the store
    name: ClassVar[str]
    #: whether it learns vectors of relations too; these become nodes N to N + R - 1 of the store
    learns_relations: ClassVar[bool] = False

    def __init__(
        self, *, dimension: int, walk_length: int, walks_per_node: int, seed: int, p: float = 1.0, q: float = 1.0
    ) -> None:
        self.dimension = dimension
        self.walk_length = walk_length
        self.walks_per_node = walks_per_node
        self.seed = seed
        self.walks = WalkRule(walk_length, walks_per_node, seed, p, q)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result beside the graph, as JSON values; the store records it.

        These are the arguments of the constructor, which keeps each under its name.
        """
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    @abstractmethod
    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        """Fill `vectors` [N, D], or [N + R, D] if relations are learned, and `walks` [N, L]. Raises UserError.

        A node without neighbours has no walk: -1 in all places. Its vector is zeros where the method gives it none.
        """
