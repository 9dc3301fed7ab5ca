"""Tests vectors by link prediction: whether they tell edges that were held out from pairs of nodes without an edge.

Negatives are drawn in two ways, because the choice decides the figure: *uniform* ones are any two nodes, which the
nodes' degrees alone nearly tell from edges; *degree-matched* ones pair the ends of edges anew, so that both kinds have
the same degrees. The baseline is the product of the degrees. The scorer is SCORER. It is fitted on one half of the
held-out edges and asked for the other, in turns: fitted on edges that the vectors were learned from, it would tell what
vectors remember of those.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stonkgs.graph.graph import Graph

#: What scores a pair by its vectors, for people.
SCORER: Final = "logistic regression on the products of the two vectors' values"
UNIFORM, MATCHED = "uniform", "degree-matched"
#: Draws of negatives, for the standard deviation.
DRAWS: Final = 5
#: Negatives that each held-out edge is ranked with.
RANKED: Final = 100
#: Edges that are ranked at most in a round, and values of vectors that the scorer is fitted on at most.
MOST_RANKED, MOST_VALUES = 1_000, 6_000_000
#: The weight of the squared coefficients, which are of values with a variance of 1; Newton steps at most.
RIDGE, STEPS = 10.0, 30
#: Draws of a negative until it is no edge.
ATTEMPTS: Final = 20
#: Pairs that are scored at a time.
PAIRS: Final = 1 << 15

Nodes = NDArray[np.int32]
Floats = NDArray[np.float64]
#: Scores pairs of nodes: two int32 [n] -> float64 [n].
Score = Callable[[Nodes, Nodes], Floats]
#: Draws this many nodes.
Draw = Callable[[int], Nodes]


def link_figures(
    graph: Graph, rest: Graph, held: NDArray[np.int32], vectors: NDArray[np.float32], seed: int
) -> dict[str, Any]:
    """Returns the figures of vectors that were learned from `rest`, the `graph` without the edges `held` [H, 2].

    JSON values: by kind of negatives AUC and hits@10, each as (mean, standard deviation) over DRAWS draws, of the
    vectors and of the product of the degrees. hits@10 is the share of held-out edges that are among the ten best of
    themselves and RANKED pairs of the same first node with another second one.
    """
    random = np.random.default_rng(seed)
    degrees = rest.degrees.astype(np.float64)

    def by_degrees(first: Nodes, second: Nodes) -> Floats:
        return degrees[first] * degrees[second]

    draws: dict[str, Draw] = {
        UNIFORM: lambda count: random.integers(0, graph.nodes, count, np.int32),
        MATCHED: lambda count: random.choice(held.reshape(-1), count),
    }
    found: dict[str, Any] = {"edges": len(held), "scorer": SCORER, "draws": DRAWS, "ranked_with": RANKED}
    for kind, draw in draws.items():
        rounds = []
        for _ in range(DRAWS):
            halves = np.array_split(random.permutation(held), 2)
            turns = [
                _round(graph, asked, draw, (_fitted(graph, fitted, vectors, random), by_degrees), random)
                for fitted, asked in (halves, halves[::-1])
            ]
            rounds.append(_mean(np.array(turns)))
        names = ("auc", "degrees_auc", "hits_at_10", "degrees_hits_at_10")
        found[kind] = {
            name: (round(float(np.nanmean(values)), 4), round(float(np.nanstd(values)), 4))
            for name, values in zip(names, np.array(rounds, np.float64).T, strict=True)
            if not np.isnan(values).all()
        }
    return found


def _mean(turns: Floats) -> Floats:
    """Returns the mean over the rows; NaN counts nowhere."""
    with np.errstate(invalid="ignore"):
        mean: Floats = np.nansum(turns, axis=0) / (~np.isnan(turns)).sum(axis=0)
    return mean


def _round(
    graph: Graph, held: NDArray[np.int32], draw: Draw, scores: tuple[Score, Score], random: np.random.Generator
) -> list[float]:
    """Returns AUC of both scores, then hits@10 of both, for one draw of negatives; NaN where no negative was found."""
    first, second = _negatives(graph, draw, draw, len(held))
    ranked = held[random.permutation(len(held))[:MOST_RANKED]]
    ranked = np.where(random.random((len(ranked), 1)) < 0.5, ranked, ranked[:, ::-1])
    asked, anew = np.repeat(ranked[:, 0], RANKED), _others(graph, np.repeat(ranked[:, 0], RANKED), draw)
    sound = (anew >= 0).reshape(-1, RANKED).all(axis=1)
    aucs = [_auc(score(held[:, 0], held[:, 1]), score(first, second)) for score in scores]
    hits = []
    for score in scores:
        others = score(asked, np.maximum(anew, 0)).reshape(-1, RANKED)
        hits.append(_hits(score(ranked[:, 0], ranked[:, 1])[sound], others[sound]))
    return [*aucs, *hits]


def _negatives(graph: Graph, one: Draw, other: Draw, count: int) -> tuple[Nodes, Nodes]:
    """Draw pairs of nodes that are no edges, about `count`; fewer where the graph has hardly any."""
    first = one(count)
    second = _others(graph, first, other)
    return first[second >= 0], second[second >= 0]


def _others(graph: Graph, first: Nodes, draw: Draw) -> Nodes:
    """Draw for each node another one without an edge to it; -1 where none was found."""
    second, left = draw(len(first)), np.arange(len(first))
    for _ in range(ATTEMPTS):
        asked, found = first[left], second[left]
        left = left[(found == asked) | graph.adjacent(asked, found)]
        if not len(left):
            return second
        second[left] = draw(len(left))
    second[left] = -1
    return second


def _fitted(graph: Graph, held: NDArray[np.int32], vectors: NDArray[np.float32], random: np.random.Generator) -> Score:
    """Fit the scorer on edges [H, 2] that were held out, and as many degree-matched pairs without an edge."""
    first, second = held[: max(1_000, MOST_VALUES // vectors.shape[1])].T
    if not len(first):  # one edge alone was held out
        return lambda first, _: np.zeros(len(first))

    def draw(count: int) -> Nodes:
        return random.choice(held.reshape(-1), count)

    wrong = _negatives(graph, draw, draw, len(first))
    features = np.concatenate([_products(vectors, first, second), _products(vectors, *wrong)])
    is_edge = np.repeat([1.0, 0.0], [len(first), len(wrong[0])])
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1
    weights = logistic_regression((features - middle) / spread, is_edge)
    weights = weights[1:] / spread  # a constant moves all scores alike

    def score(first: Nodes, second: Nodes) -> Floats:
        parts = [_products(vectors, one, other) @ weights for one, other in _pieces(first, second)]
        return np.concatenate(parts) if parts else np.zeros(0)

    return score


def logistic_regression(features: Floats, targets: Floats) -> Floats:
    """Returns the weights of ridge logistic regression, float64 [1 + D], the constant first, which is not shrunk.

    `features` is [n, D] and `targets` [n] of 0 and 1. By Newton's method, also called iteratively reweighted least
    squares (Hastie et al. 2009, section 4.4.1), whose steps are halved while they do not help.
    """
    inputs = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(inputs.shape[1], RIDGE)
    ridge[0] = 1e-9
    weights = np.zeros(inputs.shape[1])

    def loss(weights: Floats) -> float:
        logits = inputs @ weights
        return float((np.logaddexp(0, logits) - targets * logits).sum() + (ridge * weights**2).sum() / 2)

    now = loss(weights)
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (chances - targets) + ridge * weights
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + np.diag(ridge + 1e-9)
        step, before = np.linalg.solve(curvature, gradient), now
        while (now := loss(weights - step)) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
        if before - now < 1e-9 * len(inputs):
            break
    return weights


def _products(vectors: NDArray[np.float32], first: Nodes, second: Nodes) -> Floats:
    return vectors[first].astype(np.float64) * vectors[second]


def _pieces(first: Nodes, second: Nodes) -> Iterator[tuple[Nodes, Nodes]]:
    for start in range(0, len(first), PAIRS):
        yield first[start : start + PAIRS], second[start : start + PAIRS]


def _auc(edges: Floats, others: Floats) -> float:
    """Returns the chance that an edge scores above a pair without one; ties count half."""
    if not len(edges) or not len(others):
        return float("nan")
    others = np.sort(others)
    below = np.searchsorted(others, edges, "left") + np.searchsorted(others, edges, "right")
    return float(below.mean() / 2 / len(others))


def _hits(edges: Floats, others: Floats) -> float:
    """Returns the share of edges [n] that are among the ten best with the pairs in their row of `others` [n, RANKED].

    Of a tie at the tenth place an edge has the share that a random order would give it.
    """
    if not len(edges):
        return float("nan")
    above, same = (others > edges[:, None]).sum(axis=1), (others == edges[:, None]).sum(axis=1)
    return float(np.clip((10 - above) / (same + 1), 0, 1).mean())
