"""Learns vectors from walks: skip-gram with negative sampling (Mikolov et al. 2013), in batches of matrix products."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stonkgs.graph.graph import Graph
from stonkgs.graph.vectors import BLOCK

#: About how many positions of walks make a step. Larger steps learn less well: see benchmarks/README.md.
POSITIONS = 1024
#: Nodes that serve all positions of a step as negatives.
SHARED = 64
#: A negative node is drawn in proportion to this power of its degree, as word2vec draws words.
POWER = 0.75
#: Positions of a walk whose windows are multiplied together.
STRIP = 32


@dataclass(frozen=True, slots=True)
class SkipGram:
    """Learns vectors by which a node tells which nodes stand near it in walks, and which do not.

    As in word2vec, a node at distance d counts (window + 1 - d) / window, and the learning rate falls linearly. A step
    adds up the gradients of all its positions; AdaGrad with one number a node (Duchi et al. 2011) gives nodes that are
    met often smaller steps. Rows of the table of contexts [N, D] and these numbers are all that is held in memory.
    """

    window: int
    negatives: int
    epochs: int
    learning_rate: float
    seed: int

    def learn(self, graph: Graph, walks: NDArray[np.int32], per_node: int, vectors: NDArray[np.float32]) -> None:
        """Fill `vectors` [N, D] from `walks` [N, L], each row of which is `per_node` walks. Zeros without a walk."""
        random = torch.Generator().manual_seed(self.seed)
        nodes = torch.from_numpy(np.flatnonzero(graph.degrees))
        if not len(nodes):
            vectors[:] = 0
            return
        tables = _Tables(torch.from_numpy(vectors), random)
        strips = _Strips(walks.shape[1] // per_node, self.window)
        chances = torch.from_numpy(np.cumsum(graph.degrees**POWER))
        size = max(1, POSITIONS // walks.shape[1])
        steps, step = self.epochs * -(-len(nodes) // size), 0
        for _ in range(self.epochs):
            order = nodes[torch.randperm(len(nodes), generator=random)].numpy()
            for start in range(0, len(order), size):
                batch = torch.from_numpy(walks[order[start : start + size]]).long().view(-1, strips.length)
                drawn = torch.rand(SHARED, generator=random, dtype=torch.float64) * chances[-1]
                negatives = torch.searchsorted(chances, drawn, right=True)
                self._step(tables, strips, batch, negatives, self.learning_rate * (1 - step / steps))
                step += 1
        tables.vectors[torch.from_numpy(graph.degrees == 0)] = 0

    def _step(self, tables: "_Tables", strips: "_Strips", walks: Tensor, negatives: Tensor, rate: float) -> None:
        """Learn from some walks [W, L]."""
        met, places = torch.unique(walks, return_inverse=True)
        centres, contexts = tables.vectors[met], tables.contexts[met]
        others = tables.contexts[negatives]
        centre = functional.embedding(places, centres)  # [W, L, D]
        toward, context_gradient = strips.gradients(centre, functional.embedding(places, contexts))
        flat, dimension = centre.view(-1, centre.shape[2]), centre.shape[2]
        # The shared negatives stand for as many of them as each position has contexts, times `negatives`.
        weights = strips.weights.repeat(len(walks)).unsqueeze(1) * (self.negatives / SHARED)
        errors = (flat @ others.T).sigmoid_().mul_(weights)
        gradient = toward.reshape(-1, dimension) + errors @ others
        place = places.view(-1)
        tables.descend(tables.vectors, tables.vector_sums, met, _added(place, gradient, len(met)), rate)
        touched, where = torch.unique(torch.cat([met, negatives]), return_inverse=True)
        both = torch.cat([context_gradient.reshape(-1, dimension), errors.T @ flat])
        # The first places of `where` are those of `met`, which the walks' positions refer to.
        places_of_both = torch.cat([where[: len(met)][place], where[len(met) :]])
        tables.descend(tables.contexts, tables.context_sums, touched, _added(places_of_both, both, len(touched)), rate)


class _Tables:
    """The vectors of nodes as centres and as contexts [N, D], and what AdaGrad has added up for each [N]."""

    def __init__(self, vectors: Tensor, random: torch.Generator) -> None:
        self.vectors = vectors
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            block.copy_((torch.rand(block.shape, generator=random) - 0.5) / vectors.shape[1])
        self.contexts = torch.zeros_like(vectors)
        self.vector_sums, self.context_sums = torch.zeros(len(vectors)), torch.zeros(len(vectors))

    @staticmethod
    def descend(table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, rate: float) -> None:
        """Move distinct rows of a table against their gradients."""
        summed = sums[rows] + gradients.square().mean(dim=1)
        sums[rows] = summed
        table[rows] -= gradients * (rate / (summed.sqrt() + 1e-8)).unsqueeze(1)


class _Strips:
    """Cuts walks of `length` nodes into strips, each with the contexts that the windows of its positions reach."""

    def __init__(self, length: int, window: int) -> None:
        self.length, self.window = length, window
        self.count = -(-length // STRIP)
        self.reach = STRIP + 2 * window
        self.beyond = self.count * STRIP - length
        position = torch.arange(self.count * STRIP).view(self.count, STRIP, 1)
        context = STRIP * torch.arange(self.count).view(-1, 1, 1) + torch.arange(self.reach) - window
        distance = (position - context).abs()
        inside = (distance > 0) & (position < length) & (context >= 0) & (context < length)
        #: what a context counts for a position, [strips, STRIP, reach]
        self.counts = ((window + 1 - distance).clamp(min=0) / window) * inside
        #: what all contexts of a position count, [L]
        self.weights = self.counts.sum(dim=2).view(-1)[:length]

    def gradients(self, centre: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients of both [W, L, D], from the pairs of a position and a context of it."""
        walks, _, dimension = centre.shape
        left = functional.pad(centre, (0, 0, 0, self.beyond)).view(-1, STRIP, dimension)
        padded = functional.pad(context, (0, 0, self.window, self.beyond + self.window))
        right = padded.unfold(1, self.reach, STRIP).reshape(-1, dimension, self.reach)
        errors = torch.bmm(left, right).sigmoid_().sub_(1).view(walks, self.count, STRIP, self.reach)
        errors = errors.mul_(self.counts).view(-1, STRIP, self.reach)
        centre_gradient = torch.bmm(errors, right.transpose(1, 2)).view(walks, -1, dimension)[:, : self.length]
        pieces = torch.bmm(errors.transpose(1, 2), left).view(walks, self.count, self.reach, dimension)
        gradient = torch.zeros_like(padded)
        for strip in range(self.count):
            gradient[:, strip * STRIP : strip * STRIP + self.reach] += pieces[:, strip]
        return centre_gradient, gradient[:, self.window : self.window + self.length]


def _added(rows: Tensor, gradients: Tensor, count: int) -> Tensor:
    """Returns the sum of the gradients of each row, [count, D]."""
    return gradients.new_zeros(count, gradients.shape[1]).index_add_(0, rows, gradients)
