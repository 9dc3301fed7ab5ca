"""The method `node2vec`: random walks, and vectors that skip-gram learns from them."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stonkgs.config.values import Count, Range, Whole, checked
from stonkgs.graph.graph import Graph
from stonkgs.graph.method import Method
from stonkgs.graph.skipgram import SkipGram
from stonkgs.graph.vectors import one_thread, scale
from stonkgs.graph.walks import Bias


class Node2Vec(Method):
    """Draws walks with node2vec's p and q (Grover and Leskovec 2016), and learns vectors from the walks of the store.

    Equal settings give equal bits on one machine, whatever the number of threads.
    """

    name = "node2vec"

    @checked("method")
    def __init__(
        self,
        *,
        dimension: Count = 64,
        walk_length: Count = 127,
        walks_per_node: Count = 1,
        p: Bias = 1.0,
        q: Bias = 1.0,
        window: Count = 1,
        negatives: Count = 5,
        epochs: Count = 5,
        learning_rate: Annotated[float, Range(1e-9, 10)] = 0.01,
        seed: Whole = 0,
    ) -> None:
        super().__init__(
            dimension=dimension, walk_length=walk_length, walks_per_node=walks_per_node, seed=seed, p=p, q=q
        )
        self.p = p
        self.q = q
        self.window = window
        self.negatives = negatives
        self.epochs = epochs
        self.learning_rate = learning_rate

    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        self.walks.fill(graph, walks)
        with one_thread():
            skipgram = SkipGram(self.window, self.negatives, self.epochs, self.learning_rate, self.seed)
            skipgram.learn(graph, walks, self.walks_per_node, vectors)
        scale(vectors)
