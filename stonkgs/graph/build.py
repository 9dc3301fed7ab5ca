"""Makes a Graph of triples. Its arrays, and all that grows with it on the way, lie in unnamed files."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.reading import Numbered, Reading
from stonkgs.kge.index import CHUNK, Ints, Scratch, chunks, number_lines, write_names
from stonkgs.kge.layout import MAX_NODES


class Counts(NamedTuple):
    """What a graph was made of."""

    rows: int
    """Rows that were kept."""
    duplicates: int
    """Those of them that repeat a triple."""
    self_loops: int
    """Distinct triples from a node to itself."""


def build_graph(reading: Reading, scratch: Scratch, numbered: Numbered | None = None) -> tuple[Graph, Counts]:
    """Read triples, unless they are `numbered` already, and make a graph of them, in files in `scratch`'s folder.

    Nodes are numbered in the order in which the kept rows first name them, source before target. Raises UserError where
    no two nodes have an edge between them.
    """
    numbered = numbered or reading.numbered(scratch)
    numbering = number_lines(numbered.names, scratch)
    nodes = numbering.nodes
    if nodes > MAX_NODES:
        raise UserError(f"the graph has {nodes:,} nodes, and a store holds at most {MAX_NODES:,}; split it")
    names = {
        "names": scratch.new_array("|u1").zeros(numbering.name_bytes).mapped(),
        "name_offsets": scratch.new_array("<i8").zeros(nodes + 1).mapped(),
    }
    write_names(numbered.names, numbering.numbers, names)
    scratch.release()
    triples, self_loops = _triples(numbered, numbering.numbers, nodes, scratch)
    starts, neighbours = _neighbours(triples, nodes, scratch)
    if not len(neighbours):
        what = "only one node" if nodes == 1 else f"{nodes:,} nodes and only self-loops"
        raise UserError(f"the graph has {what}: nothing can be learned from it; {reading.said()}")
    digest = _digest(names["names"], names["name_offsets"], numbered.relations, triples)
    graph = Graph(names["names"], names["name_offsets"], starts, neighbours, triples, numbered.relations, digest)
    rows = len(numbered.kinds)
    return graph, Counts(rows, rows - len(triples), self_loops)


def _triples(numbered: Numbered, numbers: Ints, nodes: int, scratch: Scratch) -> tuple[NDArray[np.int32], int]:
    """Returns the distinct triples, sorted, int32 [T, 3], and how many of them are self-loops."""
    unsorted = scratch.new_array("<i4")
    counts, loops = np.zeros(nodes, np.int64), 0
    for start, ends in chunks(numbered.ends):
        pairs = numbers[ends]
        kinds = numbered.kinds[start : start + len(ends)]
        unsorted.append(np.column_stack([pairs[:, 0], kinds, pairs[:, 1]]))
        counts += np.bincount(pairs[:, 0], minlength=nodes)
    found = scratch.new_array("<i4")
    rows = unsorted.mapped().reshape(-1, 3)
    for _, _, positions in buckets(rows[:, 0], counts):
        part = rows[positions]
        part = part[np.lexsort((part[:, 2], part[:, 1], part[:, 0]))]
        part = part[_firsts((part[1:] != part[:-1]).any(axis=1))]
        loops += int((part[:, 0] == part[:, 2]).sum())
        found.append(part)
        scratch.release()
    return found.mapped().reshape(-1, 3), loops


def _neighbours(triples: NDArray[np.int32], nodes: int, scratch: Scratch) -> tuple[Ints, NDArray[np.int32]]:
    """Returns where each node's neighbours start, int64 [N + 1], and the neighbours, ascending, int32 [2 E]."""
    halves, counts = scratch.new_array("<i4"), np.zeros(nodes, np.int64)
    for _, part in chunks(triples):
        edges = part[part[:, 0] != part[:, 2]]
        both = np.concatenate([edges[:, [0, 2]], edges[:, [2, 0]]])
        counts += np.bincount(both[:, 0], minlength=nodes)
        halves.append(both)
    found, degrees = scratch.new_array("<i4"), scratch.new_array("<i8")
    degrees.append(np.zeros(1))
    ends = halves.mapped().reshape(-1, 2)
    for first, last, positions in buckets(ends[:, 0], counts):
        part = ends[positions]
        keys = np.sort((part[:, 0].astype(np.int64) << 32) | part[:, 1])
        keys = keys[_firsts(keys[1:] != keys[:-1])]  # np.unique takes far longer
        found.append((keys & 0xFFFFFFFF).astype(np.int32))
        degrees.append(np.bincount((keys >> 32) - first, minlength=last - first))
        scratch.release()
    starts = degrees.mapped()
    np.cumsum(starts, out=starts)
    return starts, found.mapped()


def buckets(nodes: NDArray[np.int32], counts: Ints) -> Iterator[tuple[int, int, Ints]]:
    """Yields (first node, node behind the last, positions of these nodes) so that each has about CHUNK positions.

    `counts` says how often each node occurs, and the buckets are of all nodes. One node's positions stay together.
    """
    behind = np.cumsum(counts)
    first = done = 0
    while first < len(counts):
        last = max(int(np.searchsorted(behind, done + CHUNK, "right")), first + 1)
        found = [start + np.flatnonzero((part >= first) & (part < last)) for start, part in chunks(nodes)]
        yield first, last, np.concatenate(found) if found else np.zeros(0, np.int64)
        first, done = last, int(behind[last - 1])


def _firsts(differs: NDArray[np.bool_]) -> slice | NDArray[np.bool_]:
    """Returns which of some sorted values are no repeats; `differs` says it of all but the first."""
    return np.append(True, differs) if len(differs) else slice(None)


def _digest(names: NDArray[np.uint8], offsets: Ints, relations: tuple[str, ...], triples: NDArray[np.int32]) -> str:
    digest = sha256(f"{len(offsets) - 1} {len(triples)} {json.dumps(relations)}\n".encode())
    for array in (offsets, names, triples):
        for _, part in chunks(array):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
