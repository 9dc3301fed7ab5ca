"""What the tests of the graph room share: small graphs from lists of edges."""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from stonkgs.graph.graph import Graph


def graph_of(nodes: int, edges: Iterable[tuple[int, int]], relations: tuple[str, ...] = ("r",)) -> Graph:
    """The graph of some edges between nodes called n0, n1 ...; edge i has the relation i modulo their number."""
    triples = [(source, place % len(relations), target) for place, (source, target) in enumerate(edges)]
    found: list[set[int]] = [set() for _ in range(nodes)]
    for source, _, target in triples:
        if source != target:
            found[source].add(target)
            found[target].add(source)
    names = [f"n{node}".encode() for node in range(nodes)]
    return Graph(
        names=np.frombuffer(b"".join(names), np.uint8),
        name_offsets=np.cumsum([0, *map(len, names)]),
        starts=np.cumsum([0, *map(len, found)]),
        neighbours=np.array([other for near in found for other in sorted(near)], np.int32),
        triples=np.array(sorted(set(triples)), np.int32).reshape(-1, 3),
        relations=relations,
        digest=sha256(repr((nodes, sorted(triples))).encode()).hexdigest(),
    )


def communities(groups: int, size: int, *, degree: int, seed: int = 0) -> Graph:
    """A graph of groups: of each node's `degree` drawn edges, nine of ten stay in its group."""
    random = np.random.default_rng(seed)
    nodes = groups * size
    source = np.repeat(np.arange(nodes), degree)
    inside = source // size * size + random.integers(size, size=len(source))
    target = np.where(random.random(len(source)) < 0.9, inside, random.integers(nodes, size=len(source)))
    return graph_of(nodes, zip(source.tolist(), target.tolist(), strict=True))
