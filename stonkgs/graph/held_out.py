"""Takes edges out of a graph, so that what was learned from the rest can be asked for them."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from stonkgs.graph.graph import Graph
from stonkgs.kge.index import CHUNK, Ints, Scratch, chunks
from stonkgs.protocol import scrambled_numbers

#: More edges than this are not held out: figures would not become more exact.
MOST = 100_000


def hold_out(graph: Graph, share: float, seed: int, scratch: Scratch) -> tuple[Graph, NDArray[np.int32]]:
    """Returns the graph without a random `share` of its edges, at most MOST, and these edges, int32 [H, 2].

    Each node keeps one of its edges, chosen at random: so no node loses all, and of a tree nothing can be taken. All
    triples between the two nodes of an edge are taken, in either direction.
    """
    kept = _kept_edges(graph, seed)
    wanted = min(MOST, round(share * graph.edges))
    taken = np.zeros(0, np.uint64)
    for keys in _candidates(graph, kept, seed):
        taken = np.concatenate([taken, keys])
        if len(taken) > 2 * wanted:
            taken = _lowest(taken, wanted, seed)
    taken = np.sort(_lowest(taken, wanted, seed))
    held = np.stack([taken >> np.uint64(32), taken & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int32)
    return _without(graph, taken, scratch), held


def edge_keys(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Returns a number for each edge, the same for both directions: uint64."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    return (low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64)


def _entries(graph: Graph) -> Iterator[tuple[int, int, Ints, NDArray[np.int32]]]:
    """Yields (first node, node behind the last, each entry's node, its neighbour), for CHUNK entries at a time."""
    first = 0
    while first < graph.nodes:
        last = int(np.searchsorted(graph.starts, graph.starts[first] + CHUNK, "right")) - 1
        last = min(max(last, first + 1), graph.nodes)
        degrees = np.diff(graph.starts[first : last + 1])
        nodes = np.repeat(np.arange(first, last), degrees)
        yield first, last, nodes, np.asarray(graph.neighbours[graph.starts[first] : graph.starts[last]])
        first = last


def _kept_edges(graph: Graph, seed: int) -> NDArray[np.uint64]:
    """Returns for each node the scrambled key of the edge that it keeps, uint64 [N]."""
    kept = np.full(graph.nodes, np.iinfo(np.uint64).max, np.uint64)
    for _, _, nodes, neighbours in _entries(graph):
        scrambled = scrambled_numbers(seed, edge_keys(nodes.astype(np.int32), neighbours))
        np.minimum.at(kept, nodes, scrambled)
    return kept


def _candidates(graph: Graph, kept: NDArray[np.uint64], seed: int) -> Iterator[NDArray[np.uint64]]:
    """Yields the keys of the edges that neither node keeps."""
    for _, _, entries, others in _entries(graph):
        forward = entries < others
        nodes, neighbours = entries[forward], others[forward]
        keys = edge_keys(nodes.astype(np.int32), neighbours)
        scrambled = scrambled_numbers(seed, keys)
        yield keys[(scrambled != kept[nodes]) & (scrambled != kept[neighbours])]


def _lowest(keys: NDArray[np.uint64], count: int, seed: int) -> NDArray[np.uint64]:
    """Returns `count` of the keys, which another hash than that of `_kept_edges` chooses."""
    if len(keys) <= count:
        return keys
    return keys[np.argpartition(scrambled_numbers(seed + 1, keys), count)[:count]] if count else keys[:0]


def _without(graph: Graph, taken: NDArray[np.uint64], scratch: Scratch) -> Graph:
    """Returns a graph without the edges of these keys, in ascending order, and without the triples between them."""
    neighbours, degrees = scratch.new_array("<i4"), scratch.new_array("<i8")
    degrees.append(np.zeros(1))
    for first, last, nodes, others in _entries(graph):
        left = ~_among(edge_keys(nodes.astype(np.int32), others), taken)
        neighbours.append(others[left])
        degrees.append(np.bincount(nodes[left] - first, minlength=last - first))
    starts = degrees.mapped()
    np.cumsum(starts, out=starts)
    triples = scratch.new_array("<i4")
    for _, part in chunks(graph.triples):
        triples.append(part[~_among(edge_keys(part[:, 0], part[:, 2]), taken)])
    digest = sha256(graph.digest.encode() + taken.tobytes()).hexdigest()
    return replace(
        graph, starts=starts, neighbours=neighbours.mapped(), triples=triples.mapped().reshape(-1, 3), digest=digest
    )


def _among(keys: NDArray[np.uint64], taken: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which keys are among those in ascending order: bool."""
    if not len(taken):
        return np.zeros(len(keys), np.bool_)
    found: NDArray[np.bool_] = taken[np.minimum(np.searchsorted(taken, keys), len(taken) - 1)] == keys
    return found
