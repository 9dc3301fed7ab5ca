"""Grows a store by new triples: `stonkgs kge update`. What it holds keeps number, vector and walk to the bit."""

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stonkgs.config.values import Count, Whole, check
from stonkgs.errors import UserError, printable
from stonkgs.graph.build import build_graph
from stonkgs.graph.graph import Graph
from stonkgs.graph.grow import Growth
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.reading import Reading, chosen
from stonkgs.graph.triples import Triples
from stonkgs.graph.walks import Bias, WalkRule
from stonkgs.kge.create import Draft
from stonkgs.kge.index import Scratch, chunks
from stonkgs.kge.layout import MAX_NODES, StoreArrays, damaged, open_store
from stonkgs.kge.lineage import GROWN, Ancestor, Lineage, grown_origin, lineage_of, origin_of
from stonkgs.kge.lookup import NameIndex
from stonkgs.kge.output import LONGEST_ORIGIN, NAMED_FILES, new_store, release
from stonkgs.kge.shift import PUBLISHED_NUMBERS, vector_rows

#: Nodes that a store for models with `legacy_node_shift` has between old and new ones. They stand for nothing: the new
#: ones read vectors three rows before their own, and so none of the rows that were there.
BETWEEN: Final = 3


@dataclass(frozen=True)
class UpdatedStore:
    """Describes a store that has grown."""

    output: str
    nodes: int
    #: nodes that were added; of these, without a vector, for want of a known node in reach; and without a walk
    new: int
    without_vector: int
    without_walk: int
    #: the share that was unknown before: of the triples' distinct nodes, and of their ends
    unknown_nodes: float
    unknown_ends: float
    grown_from: str
    digest: str
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.output}: {self.nodes:,} nodes, {self.new:,} of them new",
            f"unknown before: {self.unknown_nodes:.1%} of the nodes of these triples, {self.unknown_ends:.1%} of their "
            "ends; after: none",
            f"{self.without_vector:,} new nodes without a vector, as no known node can be reached from them; "
            f"{self.without_walk:,} without a walk",
            f"{self.seconds:.1f} s, digest {self.digest}, grown from {self.grown_from}",
        ]
        return "\n".join(map(printable, lines))


def update_store(
    *,
    store: str,
    triples: Triples,
    without: LeaveOut,
    output: str,
    overwrite: bool = False,
    legacy_node_shift: bool = False,
) -> UpdatedStore:
    """Write `store` with the nodes of `triples` that it lacks behind its own; see `Growth` for their vectors and walks.

    Its other nodes keep number, vector and walk to the bit. With `legacy_node_shift` the vectors stand where models
    with that setting read them, and no other model takes the result. Nodes are known by their exact names. Raises
    UserError.
    """
    started = time.perf_counter()
    header, old = open_store(store)
    lineage = _lineage(store, header.origin, Ancestor(header.digest, len(old["vectors"])), legacy_node_shift)
    inputs = [store, *(file.path for file in triples.files), *without.inputs]
    with new_store(output, inputs=inputs, overwrite=overwrite) as (temporary, scratch):
        reading = Reading(triples, chosen(triples, without))
        graph, _ = build_graph(reading, scratch)
        triples.check()
        growth = _growth(store, old, graph, legacy_node_shift, scratch)
        new = int(growth.new.sum())
        if not new:
            raise UserError(f"{store}: has all {graph.nodes:,} nodes of these triples already; nothing is to be added")
        draft = _draft(store, growth, old, temporary, new)
        vectors, walks = growth.fill_vectors(draft.arrays["vectors"]), new
        if rule := _rule(header.origin, old["walks"].shape[1]):
            walks = growth.fill_walks(rule, draft.arrays["walks"])
        draft.release()
        record = {**reading.choice.record, "left_out": dict(reading.left_out)}
        digest = draft.seal(_origin(header.origin, lineage, triples, graph, new, record))
        nodes = len(draft.arrays["vectors"])
    ends = graph.triples[:, [0, 2]]
    unknown = sum(int(growth.new[part].sum()) for _, part in chunks(ends)) / ends.size
    return UpdatedStore(
        output, nodes, new, vectors, walks, new / graph.nodes, unknown, header.digest, digest,
        time.perf_counter() - started,
    )  # fmt: skip


def _lineage(store: str, origin: str, before: Ancestor, legacy_node_shift: bool) -> Lineage:
    """Returns the lineage of what grows from a store. Raises UserError where that cannot be."""
    earlier = lineage_of(origin)
    if earlier.ancestors and earlier.legacy_node_shift != legacy_node_shift:
        how = "with" if earlier.legacy_node_shift else "without"
        raise UserError(f"{store}: has grown {how} --legacy-node-shift; go on {how} it, or grow the first store anew")
    if legacy_node_shift and before.nodes <= (least := max(PUBLISHED_NUMBERS.values())):
        raise UserError(f"{store}: {before.nodes} nodes; a published checkpoint numbers its nodes past {least}")
    return Lineage((*earlier.ancestors, before), legacy_node_shift)


def _growth(store: str, old: StoreArrays, graph: Graph, legacy_node_shift: bool, scratch: Scratch) -> Growth:
    """Find the nodes of a graph in a store, and number the others behind its own."""
    index, count = NameIndex(path=store, arrays=old), len(old["vectors"])
    numbers = scratch.new_array("<i8").zeros(graph.nodes).mapped()
    added = first = count + BETWEEN * legacy_node_shift
    for start, part in chunks(numbers):
        offsets = graph.name_offsets[start : start + len(part) + 1].tolist()
        text = graph.names[offsets[0] : offsets[-1]].tobytes()
        for place in range(len(part)):
            name = text[offsets[place] - offsets[0] : offsets[place + 1] - offsets[0]]
            if (number := index.find(name)) < 0:
                number, added = added, added + 1
            part[place] = number
    if added > MAX_NODES:
        raise UserError(f"{store}: would have {added:,} nodes, and a store holds at most {MAX_NODES:,}")
    rows = vector_rows(numbers.astype(np.int32), legacy_node_shift=legacy_node_shift).astype(np.int64)
    return Growth(graph, numbers, np.where(rows < 0, -1, rows), first)


def _draft(store: str, growth: Growth, old: StoreArrays, temporary: str, new: int) -> Draft:
    """Returns a draft of the grown store with all names, the old vectors and walks, and zeros and -1 behind them."""
    count = len(old["vectors"])
    if old["name_offsets"][-1] != len(old["names"]):
        raise damaged(store, "its names end elsewhere than the last one")
    between = [f"no node {number}".encode() for number in range(count, growth.old)]
    added = np.flatnonzero(growth.new)
    lengths = np.diff(growth.graph.name_offsets)[added]
    draft = Draft(
        path=temporary, nodes=growth.old + new, dimension=old["vectors"].shape[1], walk_length=old["walks"].shape[1],
        name_bytes=len(old["names"]) + sum(map(len, between)) + int(lengths.sum()),
        half=old["vectors"].dtype == np.float16,
    )  # fmt: skip
    for name in ("names", "name_offsets", "vectors", "walks"):
        for start, part in chunks(old[name]):
            draft.arrays[name][start : start + len(part)] = part
            draft.release()
    offsets, names = draft.arrays["name_offsets"], draft.arrays["names"]
    for place, text in enumerate(between, count):
        offsets[place + 1] = offsets[place] + len(text)
    names[offsets[count] : offsets[growth.old]] = np.frombuffer(b"".join(between), np.uint8)
    offsets[growth.old + 1 :] = offsets[growth.old] + np.cumsum(lengths)
    _write_names(growth.graph, added, names[offsets[growth.old] :])
    for array, empty in ((draft.arrays["vectors"], 0), (draft.arrays["walks"], -1)):
        for _, part in chunks(array[count:]):
            part.fill(empty)
    draft.release()
    draft.index()
    return draft


def _write_names(graph: Graph, nodes: NDArray[np.int64], names: NDArray[np.uint8]) -> None:
    """Write the names of some nodes, one after the other."""
    end = 0
    for _, part in chunks(nodes):
        text = b"".join(graph.name(node).encode() for node in part.tolist())
        names[end : end + len(text)] = np.frombuffer(text, np.uint8)
        end += len(text)


def _rule(origin: str, length: int) -> WalkRule | None:
    """Returns how the walks of a store were drawn, as far as it says so; None if it has no walks."""
    if not length:
        return None
    first = origin_of(origin)
    first = first.get("learned", first) if GROWN in first else first
    settings = first.get("settings") if isinstance(first, dict) else None
    known: dict[str, Any] = settings if isinstance(settings, dict) else {}
    values = [known.get(name, usual) for name, usual in (("p", 1.0), ("q", 1.0), ("seed", 0), ("walks_per_node", 1))]
    try:
        for value, kind in zip(values, (Bias, Bias, Whole, Count), strict=True):
            check("", value, kind)
        p, q, seed, per_node = values
        return WalkRule(length, per_node, seed, p, q)
    except UserError:  # somebody else's origin
        return WalkRule(length, 1, 0)


def _origin(before: str, lineage: Lineage, triples: Triples, graph: Graph, new: int, without: dict[str, Any]) -> str:
    """Returns what the grown store says of itself: from what it has grown, and how the first one was learned."""
    first = origin_of(before)
    first = first.get("learned", {}) if GROWN in first else first
    grown = {**grown_origin(lineage), "nodes": new, "graph": graph.digest, "without": without}
    origin = {GROWN: grown, "files": triples.described()[:NAMED_FILES], "stonkgs": release()}
    full = json.dumps({**origin, "learned": first})
    full = full if len(full) <= LONGEST_ORIGIN else json.dumps(origin)
    if len(full) > LONGEST_ORIGIN:
        raise UserError("the store has grown too often to say from what; learn one from the whole graph")
    return full
