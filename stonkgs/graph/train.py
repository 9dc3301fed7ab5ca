"""Learns a store from triples: read, leave out, number, test by held-out edges, learn from all, write."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError, printable
from stonkgs.graph.build import Counts, build_graph
from stonkgs.graph.graph import Graph
from stonkgs.graph.held_out import hold_out
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.links import link_figures
from stonkgs.graph.method import Method
from stonkgs.graph.reading import Reading, chosen
from stonkgs.graph.triples import Triples
from stonkgs.graph.words import links_table, origin_words
from stonkgs.kge.create import Draft
from stonkgs.kge.index import Scratch, chunks
from stonkgs.kge.lookup import NameIndex
from stonkgs.kge.output import LONGEST_ORIGIN, NAMED_FILES, new_store, release


@dataclass(frozen=True)
class TrainedStore:
    """Describes a store that was learned from a graph."""

    output: str
    #: what the store says of itself: `stonkgs.graph.words` puts it in words
    origin: dict[str, Any]
    #: what else to tell of the input -> rows
    told: Counter[str]
    nodes: int
    dimension: int
    walk_length: int
    #: bytes of the store
    size: int
    seconds: float
    digest: str

    def __str__(self) -> str:
        size = f"{self.size / 1e6:,.1f} MB in {self.seconds:.1f} s"
        shape = f"{self.nodes:,} nodes of {self.dimension} floats, walks of {self.walk_length} nodes"
        words = [line for line in origin_words(self.origin) if line[0] not in ("links", "")]  # a table shows these
        lines = [("store", f"{self.output}: {shape}"), *words, ("size", size), ("digest", self.digest)]
        told = [f"{count:,} rows: {what}" for what, count in self.told.items()]
        shown = [*(f"{name:13} {text}" for name, text in lines), *told, *links_table(self.origin["links"])]
        return "\n".join(map(printable, shown))


def train_store(
    *,
    triples: Triples,
    without: LeaveOut,
    method: Method,
    output: str,
    overwrite: bool = False,
    half: bool = False,
    held_out: float = 0.1,
) -> TrainedStore:
    """Learn a store from triples, and write it; it appears complete or not at all.

    First a share `held_out` of the edges is taken out and asked for, unless it is 0; what is written is then learned
    from all edges. Raises UserError.
    """
    started = time.perf_counter()
    inputs = [*(file.path for file in triples.files), *without.inputs]
    with new_store(output, inputs=inputs, overwrite=overwrite) as (temporary, scratch):
        reading = Reading(triples, chosen(triples, without))
        graph, counts = build_graph(reading, scratch)
        triples.check()
        origin = _origin(reading, graph, counts, method)
        origin["links"] = _links(graph, method, held_out, str(Path(output).absolute().parent))
        digest = _write(graph, method, temporary, scratch, half, json.dumps(origin))
        size = Path(temporary).stat().st_size
    nodes = graph.nodes + (len(graph.relations) if method.learns_relations else 0)
    seconds = time.perf_counter() - started
    return TrainedStore(
        output, origin, reading.told, nodes, method.dimension, method.walk_length, size, seconds, digest
    )  # fmt: skip


def _origin(reading: Reading, graph: Graph, counts: Counts, method: Method) -> dict[str, Any]:
    """Returns what the store says of itself, as JSON values. Raises UserError where that is too much."""
    record = dict(reading.choice.record)
    if "division" in record:
        record |= {"pairs_tested": len(reading.stated), "pairs_stated": sum(reading.stated)}
    origin = {
        "method": method.name,
        "settings": method.settings,
        "seed": method.seed,
        "graph": {
            **{"digest": graph.digest, "nodes": graph.nodes, "edges": graph.edges, "triples": len(graph.triples)},
            **{"relations": len(graph.relations), **counts._asdict(), "left_out": dict(reading.left_out)},
        },
        "without": record,
        "files": reading.triples.described()[:NAMED_FILES],
        "stonkgs": release(),
    }
    if len(json.dumps(origin)) > LONGEST_ORIGIN:
        raise UserError("without: the store cannot hold so many values of without.where, or so many files; name fewer")
    return origin


def _links(graph: Graph, method: Method, share: float, folder: str) -> dict[str, Any] | None:
    """Learn from a part of the edges, and return how well the vectors tell the others; None if there are none."""
    with Scratch(folder) as scratch:
        rest, held = hold_out(graph, share, method.seed, scratch)
        if not len(held):
            return None
        rows = graph.nodes + (len(graph.relations) if method.learns_relations else 0)
        vectors = _zeros(scratch, "<f4", rows, method.dimension)
        method.learn(rest, vectors, _zeros(scratch, "<i4", graph.nodes, method.walk_length))
        _check_finite(vectors, method)
        return link_figures(graph, rest, held, vectors, method.seed)


def _zeros(scratch: Scratch, dtype: str, rows: int, width: int) -> NDArray[Any]:
    return scratch.new_array(dtype).zeros(rows * width).mapped().reshape(rows, width)


def _write(graph: Graph, method: Method, temporary: str, scratch: Scratch, half: bool, origin: str) -> str:
    """Learn from the whole graph, write and seal the store. Returns its digest."""
    extra = [relation.encode(errors="backslashreplace") for relation in graph.relations] * method.learns_relations
    draft = Draft(
        path=temporary, nodes=graph.nodes + len(extra), dimension=method.dimension, walk_length=method.walk_length,
        name_bytes=len(graph.names) + sum(map(len, extra)), half=half,
    )  # fmt: skip
    _write_names(graph, extra, draft)
    vectors, walks = draft.arrays["vectors"], draft.arrays["walks"]
    for _, part in chunks(walks[graph.nodes :]):
        part.fill(-1)
    learned = _zeros(scratch, "<f4", *vectors.shape) if half else vectors
    method.learn(graph, learned, walks[: graph.nodes])
    _check_finite(learned, method)
    if half:
        for start, part in chunks(learned):
            with np.errstate(over="ignore"):
                vectors[start : start + len(part)] = part
        _check_finite(vectors, method, "are too large for float16; train without --half")
    draft.release()
    return draft.seal(origin)


def _write_names(graph: Graph, relations: list[bytes], draft: Draft) -> None:
    """Write the names of the nodes, and of the relations behind them. Raises UserError where two names are equal."""
    names, offsets = draft.arrays["names"], draft.arrays["name_offsets"]
    for whole, array in ((names, graph.names), (offsets, graph.name_offsets)):
        for start, part in chunks(array):
            whole[start : start + len(part)] = part
    names[len(graph.names) :] = np.frombuffer(b"".join(relations), np.uint8)
    offsets[graph.nodes + 1 :] = (
        len(graph.names) + np.cumsum([len(name) for name in relations] or [0])[: len(relations)]
    )
    draft.index()
    index = NameIndex(path=draft.path, arrays=draft.arrays)
    for number, name in enumerate(relations, graph.nodes):
        if not name:
            raise UserError("a relation has no name, and this method learns vectors of relations: name their column")
        if index.find(name) != number:
            shown = printable(repr(name.decode()))
            raise UserError(f"a relation and a node are both called {shown}; rename one, or choose method=node2vec")


def _check_finite(vectors: NDArray[Any], method: Method, what: str = "") -> None:
    for start, part in chunks(vectors):
        if not np.isfinite(part).all():
            node = start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            changes = ", ".join(f"method.{name}={value}" for name, value in method.settings.items())
            what = what or f"are not finite after the training; lower its learning rate or change another of {changes}"
            raise UserError(f"method={method.name}: the vector of node {node} and maybe others {what}")
