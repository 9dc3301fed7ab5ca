"""Builds a KGE store from one or two text files. Memory does not grow with the number of nodes.

The file of vectors is read twice. The first pass reads the names and numbers the nodes; the second pass writes the
values straight to their place in the store. Intermediate data that grow with the graph are kept in files beside the
output.
"""

import json
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stonkgs.errors import UserError
from stonkgs.kge.create import Draft
from stonkgs.kge.index import LineNames, NameFile, Scratch, chunks, number_lines, write_names
from stonkgs.kge.layout import MAX_NODES
from stonkgs.kge.lookup import NameIndex
from stonkgs.kge.output import new_store, release
from stonkgs.kge.rows import (
    FLOATS,
    TextRows,
    check_first_row,
    check_rows,
    distinct,
    floats,
    is_utf8,
    read_rows,
    readable,
)
from stonkgs.kge.store import KgeStore

#: What the values of walks are called in messages.
NODES = "nodes of a walk"
#: How many names from walks are cached with their node numbers.
CACHED_NAMES = 1 << 17


class BuildSummary(NamedTuple):
    """Describes the store that was built."""

    output: str
    nodes: int
    dimension: int
    walk_length: int
    without_walk: int
    """Number of nodes that have no walk."""
    repeated: int
    """Lines of the vectors' file that repeat an earlier name. The values of the last one are kept."""
    size: int
    """Bytes of the store."""
    seconds: float
    digest: str
    half: bool

    def __str__(self) -> str:
        floats = "half-precision floats" if self.half else "floats"
        walks = f"walks of {self.walk_length} nodes" if self.walk_length else "no walks"
        return (
            f"{self.output}: {self.nodes:,} nodes of {self.dimension} {floats}, {walks}\n"
            f"{self.without_walk:,} nodes without a walk, {self.repeated:,} repeated lines\n"
            f"{self.size / 1e6:,.1f} MB in {self.seconds:.1f} s, digest {self.digest}"
        )


def build(
    *, vectors: str, output: str, walks: str | None = None, overwrite: bool = False, half: bool = False
) -> BuildSummary:
    """Build a store from `vectors` (a name and D floats per line) and `walks` (a name and L names per line).

    Without `walks`, L is 0, and the store is for models that read none. `half` stores the vectors as float16, which
    halves the size. The output appears complete or not at all. Raises UserError, with the line, for any mistake in the
    files, and if the output cannot be written.
    """
    started = time.perf_counter()
    with new_store(output, inputs=[vectors, *([walks] if walks else [])], overwrite=overwrite) as (temporary, scratch):
        repeated, without_walk = _write(vectors, walks, temporary, scratch, half)
        written = KgeStore(path=temporary)
        return BuildSummary(
            output, written.nodes, written.dimension, written.walk_length, without_walk, repeated,
            written.header.size, time.perf_counter() - started, written.digest, half,
        )  # fmt: skip


def _write(vectors: str, walks: str | None, temporary: str, scratch: Scratch, half: bool) -> tuple[int, int]:
    """Write and seal the store. Returns the number of repeated lines, and of nodes without a walk."""
    names, dimension = _read_names(vectors, scratch)
    walk_length = _first_width(walks) if walks else 0
    numbering = number_lines(names, scratch)
    nodes = numbering.nodes
    if nodes > MAX_NODES:
        raise UserError(f"{vectors}: {nodes:,} nodes, and a store holds at most {MAX_NODES:,}; split the graph")
    draft = Draft(
        path=temporary, nodes=nodes, dimension=dimension, walk_length=walk_length,
        name_bytes=numbering.name_bytes, half=half,
    )  # fmt: skip
    write_names(names, numbering.numbers, draft.arrays)
    draft.index()
    _fill_vectors(vectors, draft, numbering.numbers, dimension)
    without_walk = _fill_walks(walks, draft, walk_length) if walks else nodes
    draft.seal(_origin({"vectors": vectors, "walks": walks}))
    return len(numbering.numbers) - nodes, without_walk


def _read_names(path: str, scratch: Scratch) -> tuple[LineNames, int]:
    """Returns the names of all lines, and the number of floats that every line has."""
    names, width = NameFile(scratch), None
    for rows in read_rows(path, "names"):
        if width is None:
            check_first_row(rows, FLOATS)
        width = check_rows(rows, width, FLOATS)
        names.append(rows.names)
    assert width is not None  # read_rows refuses a file without rows
    return names.names(), width


def _first_width(path: str) -> int:
    rows = next(read_rows(path, "walks"))
    check_first_row(rows, NODES)
    return check_rows(rows, None, NODES)


def _fill_vectors(path: str, draft: Draft, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], width: int) -> None:
    line, place = 0, draft.arrays["vectors"]
    for rows in read_rows(path, "vectors"):
        check_rows(rows, width, FLOATS)  # the file may have changed since its names were read
        nodes = numbers[line : line + len(rows.names)]
        if len(nodes) < len(rows.names):
            break
        # If a name is repeated within a block, numpy keeps the last values, as a later block would.
        place[nodes] = floats(rows, width, place.dtype)
        line += len(rows.names)
        draft.release()
    if line != len(numbers):
        raise UserError(f"{path}: changed while it was read; build again when it is complete")


def _fill_walks(path: str, draft: Draft, width: int) -> int:
    """Write the walks as node numbers. Returns how many nodes have no walk."""
    walks = draft.arrays["walks"]
    for _, part in chunks(walks):
        part.fill(-1)
        draft.release()
    index = NameIndex(path=draft.path, arrays=draft.arrays)
    find = lru_cache(CACHED_NAMES)(index.find)
    for rows in read_rows(path, "walks"):
        check_rows(rows, width, NODES)
        starts = np.array([find(name) for name in rows.names])
        if (unknown := np.flatnonzero(starts < 0)).size:
            rows.fail(int(unknown[0]), _unknown(rows.names[unknown[0]], "the walk is of a node"))
        names, positions = distinct(rows, width)
        numbers = np.array([find(name) for name in names], np.int32)
        if (numbers < 0).any():
            _raise_unknown_node(rows, numbers[positions] < 0)
        walks[starts] = numbers[positions]
        draft.release()
    without_walk = 0
    for _, part in chunks(walks):
        without_walk += int((part[:, 0] < 0).sum())
        draft.release()
    return without_walk


def _raise_unknown_node(rows: TextRows, unknown: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    row, place = np.argwhere(unknown)[0]
    rows.fail(row, _unknown(rows.values[row].split(b"\t")[place], "the walk visits a node"))


def _unknown(name: bytes, what: str) -> str:
    remedy = "add its vector or remove the line" if is_utf8(name) else "it is not UTF-8, convert the file"
    return f"{what} without a vector, {readable(name)}; {remedy}"


def _origin(files: Mapping[str, str | None]) -> str:
    read = {what: Path(file) for what, file in files.items() if file}
    sizes = {what: {"name": path.name, "bytes": path.stat().st_size} for what, path in read.items()}
    return json.dumps({**sizes, "stonkgs": release()})
