"""The KGE store: the names, vectors and walks of a knowledge graph's nodes, memory-mapped from one HDF5 file.

A gather from the map costs what RAM costs, every worker shares its pages, and opening takes the same few milliseconds
for any number of nodes. The price is that a store must be contiguous and uncompressed; `stonkgs kge build` writes one.
"""

import bisect
import os
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError
from stonkgs.kge.layout import Arrays, Header, damaged, name_hash, open_store

#: names looked up again and again within a batch; a bound that costs a few MB in each worker
CACHED_NAMES = 16_384


class NameIndex:
    """Node numbers by name, over a store's arrays. Raises UserError where the arrays contradict themselves."""

    def __init__(self, *, path: str, arrays: Arrays) -> None:
        self._path = path
        # bisect over a memoryview is four times as fast as np.searchsorted for one hash.
        # The cast because a repacked store may begin its hashes at any byte, where numpy's own buffer is not readable.
        self._hashes = arrays["hashes"].view(np.uint8).data.cast("Q")
        self._order, self._names, self._offsets = arrays["hash_order"], arrays["names"], arrays["name_offsets"]

    def number(self, name: str) -> int:
        """The number of the node of exactly this name, or -1."""
        try:
            return self.find(name.encode())
        except UnicodeEncodeError:  # a lone surrogate from a JSON file: no node's name has one
            return -1

    def find(self, wanted: bytes) -> int:
        """The number of the node of this name in UTF-8, or -1."""
        key = name_hash(wanted)
        position = bisect.bisect_left(self._hashes, key)
        # Names may share a hash, so that the bytes decide.
        while position < len(self._hashes) and self._hashes[position] == key:
            number = int(self._order[position])
            if not 0 <= number < len(self._hashes):
                raise damaged(self._path, "the name index points outside the nodes")
            if self.encoded(number) == wanted:
                return number
            position += 1
        return -1

    def encoded(self, number: int) -> bytes:
        """The UTF-8 bytes of a node's name."""
        start, stop = int(self._offsets[number]), int(self._offsets[number + 1])
        if not 0 <= start <= stop <= len(self._names):
            raise damaged(self._path, f"the name of node {number} lies outside the names")
        return self._names[start:stop].tobytes()


class KgeStore:
    """A knowledge graph's nodes, by number: read-only, opened on first use, in each process for itself.

    Opening reads nothing of the size of the graph and raises UserError for anything but a sound store. What it cannot
    see without reading everything (names, walks) is checked where it is used.
    """

    def __init__(self, *, path: str | os.PathLike[str], match: str = "exact") -> None:
        if match != "exact":
            raise UserError(f"kge.match={match}: nodes are found by their exact name; there is only exact")
        self.path = os.fspath(path)
        self.match = match

    def __getstate__(self) -> dict[str, str]:
        # The settings alone: a pickled map would be a full copy of the graph.
        return {"path": self.path, "match": self.match}

    @cached_property
    def _opened(self) -> tuple[Header, Arrays]:
        return open_store(self.path)

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(path=self.path, arrays=self._opened[1])

    @cached_property
    def _number(self) -> Callable[[str], int]:
        return lru_cache(CACHED_NAMES)(self._index.number)

    @property
    def header(self) -> Header:
        """Version, digest, origin and size of the file."""
        return self._opened[0]

    @property
    def digest(self) -> str:
        """SHA-256 over names, vectors and walks, as the builder wrote it."""
        return self.header.digest

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The map of all vectors, [N, D]."""
        return self._opened[1]["vectors"]

    @cached_property
    def walks(self) -> NDArray[np.int32]:
        """The map of all walks, [N, L], unchecked: `walk()` checks one."""
        return self._opened[1]["walks"]

    @property
    def nodes(self) -> int:
        """N, the number of nodes."""
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """D, the floats of a vector."""
        return int(self.vectors.shape[1])

    @property
    def walk_length(self) -> int:
        """L, the nodes of a walk."""
        return int(self.walks.shape[1])

    def number(self, name: str) -> int:
        """The number of the node of exactly this name, or -1."""
        return self._number(name)

    def name(self, number: int) -> str:
        """The name of a node; IndexError outside 0..N-1."""
        self._check(number, number)
        try:
            return self._index.encoded(number).decode()
        except UnicodeDecodeError:
            raise damaged(self.path, f"the name of node {number} is not UTF-8") from None

    def walk(self, number: int) -> NDArray[np.int32]:
        """The walk of a node, [L], all -1 where it has none; IndexError outside 0..N-1."""
        self._check(number, number)
        walk: NDArray[np.int32] = self.walks[number]
        if walk.min() < -1 or walk.max() >= self.nodes:
            raise damaged(self.path, f"the walk of node {number} leaves the graph")
        return walk

    def gather(self, numbers: NDArray[np.integer[Any]], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Copy the vectors of `numbers` [n] to `out` [n, D], a new array by default; IndexError outside 0..N-1."""
        if len(numbers):
            self._check(int(numbers.min()), int(numbers.max()))
        # mode="clip" because the numbers are checked: "raise" goes through a buffer wherever `out` is given.
        return np.take(self.vectors, numbers, axis=0, out=out, mode="clip")

    def _check(self, lowest: int, highest: int) -> None:
        # numpy would count negative numbers from the end.
        if lowest < 0 or highest >= self.nodes:
            wrong = lowest if lowest < 0 else highest
            raise IndexError(f"{self.path}: there is no node {wrong}; nodes are numbered 0 to {self.nodes - 1}")
