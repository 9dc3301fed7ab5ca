"""The KGE store: the names, vectors and walks of a knowledge graph's nodes, memory-mapped from one HDF5 file.

A gather from the map costs what RAM costs, every worker shares its pages, and opening takes the same few milliseconds
for any number of nodes. The price is that a store must be contiguous and uncompressed; `stonkgs kge build` writes one.
"""

import os
from collections.abc import Callable
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stonkgs.config import Stage
from stonkgs.config.values import checked
from stonkgs.kge.layout import Arrays, Header, damaged, open_store
from stonkgs.kge.lookup import NameIndex

#: names looked up again and again within a batch; a bound that costs a few MB in each worker
CACHED_NAMES = 16_384
#: characters of a name that is remembered: statements come from anywhere, and a bound on names alone bounds no memory
CACHED_LENGTH = 1024


#: The vectors of a store are one or the other: `stonkgs kge build --half` makes the second.
Vectors = NDArray[np.float32 | np.float16]
#: `match` of a store; None is what the model was made for
Match = Literal["exact", "identifier"]


class KgeStore(Stage):
    """A knowledge graph's nodes, by number: read-only, opened on first use, in each process for itself.

    Opening reads nothing of the size of the graph and raises UserError for anything but a sound store. What it cannot
    see without reading everything (names, walks) is checked where it is used. `match` is for who asks for nodes, see
    `Encoder`; both ways of asking are always there.
    """

    @checked("kge")
    def __init__(self, *, path: str | os.PathLike[str], match: Match | None = None) -> None:
        self.path = os.fspath(path)
        self.match = match

    @classmethod
    def published(cls, *, path: str | os.PathLike[str] | None = None, match: Match | None = None) -> "KgeStore":
        """The store that the published models were trained with, fetched and built at its first use, or another."""
        # By name: fetching and building stand above this room, and only this convenience reaches up to them.
        made = path or import_module("stonkgs.published.prepare").store_path()
        return cls(path=made, match=match)

    def __getstate__(self) -> dict[str, str | None]:
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
        return _cached(self._index.find)

    @cached_property
    def _identified(self) -> Callable[[str], int]:
        return _cached(self._index.find_identified)

    @property
    def header(self) -> Header:
        """Version, digest, origin and size of the file."""
        return self._opened[0]

    @property
    def digest(self) -> str:
        """SHA-256 over names, vectors and walks, as the builder wrote it."""
        return self.header.digest

    @cached_property
    def vectors(self) -> Vectors:
        """The map of all vectors, [N, D], float32 or float16."""
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
        """D, the values of a vector."""
        return int(self.vectors.shape[1])

    @property
    def walk_length(self) -> int:
        """L, the nodes of a walk."""
        return int(self.walks.shape[1])

    def number(self, name: str) -> int:
        """The number of the node of exactly this name, or -1."""
        return self._number(name)

    def identified(self, name: str) -> int:
        """The number of the one node that has the same name apart from its labels, or -1; see `identifier_form`.

        -1 also where several nodes do: then nothing but the exact name tells which is meant.
        """
        return self._identified(name)

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

    def gather(self, numbers: NDArray[np.integer[Any]], out: Vectors | None = None) -> Vectors:
        """Copy the vectors of `numbers` [n] to `out` [n, D], by default a new array; IndexError outside 0..N-1.

        Their dtype is the store's, which `out` must have: a half-precision one sends half the bytes to a GPU.
        """
        if len(numbers):
            self._check(int(numbers.min()), int(numbers.max()))
        if out is not None and out.dtype != self.vectors.dtype:  # numpy would convert to less, and refuse more
            raise TypeError(f"gather into {out.dtype}, where the store has {self.vectors.dtype}")
        # mode="clip" because the numbers are checked: "raise" goes through a buffer wherever `out` is given.
        return np.take(self.vectors, numbers, axis=0, out=out, mode="clip")

    def _check(self, lowest: int, highest: int) -> None:
        # numpy would count negative numbers from the end.
        if lowest < 0 or highest >= self.nodes:
            wrong = lowest if lowest < 0 else highest
            raise IndexError(f"{self.path}: there is no node {wrong}; nodes are numbered 0 to {self.nodes - 1}")


def _cached(find: Callable[[bytes], int]) -> Callable[[str], int]:
    """A look-up of texts that remembers. It holds the index alone: a cache that held its store would be a cycle."""

    def number(name: str) -> int:
        try:
            return find(name.encode())
        except UnicodeEncodeError:  # a lone surrogate from a JSON file: no node's name has one
            return -1

    remembered = lru_cache(CACHED_NAMES)(number)
    return lambda name: remembered(name) if len(name) <= CACHED_LENGTH else number(name)
