"""Makes a store of vectors that another program has learned, and of walks over a graph: `stonkgs kge import`."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError, printable
from stonkgs.graph.build import build_graph
from stonkgs.graph.graph import Graph
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.reading import Reading
from stonkgs.graph.triples import Triples
from stonkgs.graph.walks import BLOCK, WalkRule
from stonkgs.kge.create import Draft
from stonkgs.kge.foreign import files_of, read_foreign
from stonkgs.kge.index import Ints, LineNames, NameFile, Scratch, chunks, number_lines, write_names
from stonkgs.kge.layout import MAX_NODES
from stonkgs.kge.lookup import NameIndex
from stonkgs.kge.output import NAMED_FILES, new_store, release
from stonkgs.kge.rows import readable
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Rejection, Statement

#: Why triples are not walked on.
STRANGE: Final = "a node of it has no vector"


@dataclass(frozen=True)
class ImportedStore:
    """Describes a store of imported vectors."""

    output: str
    nodes: int
    dimension: int
    walk_length: int
    without_walk: int
    #: triples with a node that has no vector
    strange: int
    digest: str
    seconds: float

    def __str__(self) -> str:
        walks = f"walks of {self.walk_length} nodes, {self.without_walk:,} nodes without one"
        lines = [
            f"{self.output}: {self.nodes:,} nodes of {self.dimension} floats",
            walks if self.walk_length else "no walks: for models that read none; --triples gives the graph for them",
            *([f"{self.strange:,} triples are not walked on: {STRANGE}"] if self.strange else []),
            f"{self.seconds:.1f} s, digest {self.digest}",
        ]
        return "\n".join(map(printable, lines))


class Known:
    """The triples between nodes that a store has; see `Triples`."""

    def __init__(self, triples: Triples, index: NameIndex) -> None:
        self.relation, self.files, self.named = triples.relation, triples.files, triples.named
        self._triples, self._index = triples, index

    @property
    def columns(self) -> set[str]:
        """The columns of each row."""
        return self._triples.columns

    def rows(self, counts: Counter[str]) -> Iterator[Statement | Rejection]:
        """Yields the rows whose two nodes are known, and rejections; counts the others."""
        for row in self._triples.rows(counts):
            if isinstance(row, Rejection) or all(self._has(name) for name in (row.source, row.target)):
                yield row
            else:
                counts[STRANGE] += 1

    def _has(self, name: str) -> bool:
        return self._index.find(name.encode(errors="replace")) >= 0

    def described(self) -> list[dict[str, Any]]:
        """Returns name and size of each file, as JSON values."""
        return self._triples.described()

    def check(self) -> None:
        """Raises UserError where a file has changed since it was named."""
        self._triples.check()


def import_store(
    *,
    vectors: str,
    output: str,
    names: str | None = None,
    triples: Triples | None = None,
    walk_length: int = 127,
    overwrite: bool = False,
    half: bool = False,
) -> ImportedStore:
    """Write a store of the vectors that `read_foreign` reads, with walks over the graph of `triples`.

    Walks pass only nodes that have a vector. Without triples the store has no walks. Raises UserError.
    """
    started = time.perf_counter()
    read = read_foreign(vectors, names)
    inputs = [*files_of(vectors), *([names] if names else [])]
    inputs += [file.path for file in triples.files] if triples else []
    with new_store(output, inputs=inputs, overwrite=overwrite) as (temporary, scratch):
        lines, values = _read(read, vectors, scratch)
        length = walk_length if triples else 0
        draft = _draft(lines, values, vectors, temporary, scratch, length, half)
        without, strange = len(values), 0
        origin: dict[str, Any] = {"vectors": _described(vectors), "stonkgs": release()}
        if triples:
            known = Known(triples, NameIndex(path=temporary, arrays=draft.arrays))
            without, strange = _walk(known, draft, scratch, length)
            origin["triples"] = triples.described()[:NAMED_FILES]
        draft.release()
        digest = draft.seal(json.dumps(origin))
        store = KgeStore(path=temporary)
        nodes, dimension = store.nodes, store.dimension
    return ImportedStore(
        output, nodes, dimension, length, without, strange, digest, time.perf_counter() - started
    )  # fmt: skip


def _described(path: str) -> dict[str, Any]:
    file = Path(path)
    return {"name": file.name, "bytes": file.stat().st_size if file.is_file() else 0}


def _read(blocks: Iterator[Any], path: str, scratch: Scratch) -> tuple[LineNames, NDArray[np.float32]]:
    """Returns names and vectors, in files. Raises UserError where there are none."""
    names, values, width = NameFile(scratch), scratch.new_array("<f4"), 0
    for block in blocks:
        if width not in (0, block.vectors.shape[1]):
            raise UserError(f"{path}: has vectors of {width} and of {block.vectors.shape[1]} numbers")
        width = block.vectors.shape[1]
        names.append(block.names)
        values.append(block.vectors)
    if not width:
        raise UserError(f"{path}: no vectors; the store would be empty")
    return names.names(), values.mapped().reshape(-1, width)


def _draft(
    names: LineNames, values: NDArray[np.float32], path: str, temporary: str, scratch: Scratch, length: int, half: bool
) -> Draft:
    """Returns a draft with all names and vectors, and -1 for the walks. Raises UserError for a repeated name."""
    numbering = number_lines(names, scratch)
    if numbering.nodes < len(values):
        _raise_repeated(names, numbering.numbers, path)
    if numbering.nodes > MAX_NODES:
        raise UserError(f"{path}: {numbering.nodes:,} nodes, and a store holds at most {MAX_NODES:,}")
    draft = Draft(
        path=temporary, nodes=len(values), dimension=values.shape[1], walk_length=length,
        name_bytes=numbering.name_bytes, half=half,
    )  # fmt: skip
    write_names(names, numbering.numbers, draft.arrays)
    draft.index()
    place = draft.arrays["vectors"]
    for start, part in chunks(values):
        with np.errstate(over="ignore"):
            place[start : start + len(part)] = part
        if half and not np.isfinite(place[start : start + len(part)]).all():
            raise UserError(f"{path}: numbers are too large for float16; import without --half")
        draft.release()
    for _, part in chunks(draft.arrays["walks"]):
        part.fill(-1)
    return draft


def _raise_repeated(names: LineNames, numbers: Ints, path: str) -> None:
    for start, part in chunks(numbers):
        wrong = np.flatnonzero(part != start + np.arange(len(part)))
        if len(wrong):
            name = readable(names.name(start + int(wrong[0])))
            raise UserError(f"{path}: the name {name} is there twice; remove one of its vectors")


def _walk(known: Known, draft: Draft, scratch: Scratch, length: int) -> tuple[int, int]:
    """Write the walks. Returns how many nodes have none, and how many triples have a node without a vector."""
    reading = Reading(known, LeaveOut().choice(known.columns, lambda: iter(())))
    try:
        graph, _ = build_graph(reading, scratch)
    except UserError as error:
        strange = reading.told[STRANGE]
        raise UserError(f"{error}; of {strange:,} triples {STRANGE}" if strange else str(error)) from error
    known.check()
    index, walks = NameIndex(path=draft.path, arrays=draft.arrays), draft.arrays["walks"]
    numbers = _numbers(graph, index)
    rule, walked = WalkRule(length, 1, 0), 0
    for start in range(0, graph.nodes, BLOCK):
        drawn = rule.draw(graph, np.arange(start, min(start + BLOCK, graph.nodes)))
        walked += int((drawn[:, 0] >= 0).sum())
        walks[numbers[start : start + BLOCK]] = np.where(drawn < 0, -1, numbers[drawn])
        draft.release()
    return len(walks) - walked, reading.told[STRANGE]


def _numbers(graph: Graph, index: NameIndex) -> NDArray[np.int64]:
    """Returns the number that each node of a graph has in a store, int64 [M]."""
    return np.fromiter((index.find(graph.name(node).encode()) for node in range(graph.nodes)), np.int64, graph.nodes)
