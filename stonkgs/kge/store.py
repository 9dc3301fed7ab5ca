"""Reads a KGE store: the names, vectors and walks of a knowledge graph's nodes, memory-mapped from one HDF5 file.

Reading vectors from the map is as fast as from RAM, all worker processes share its pages, and opening takes a few
milliseconds for any number of nodes. In return, a store must be contiguous and uncompressed; `stonkgs kge build` and
`stonkgs kge train` write it so.
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
from stonkgs.errors import UserError
from stonkgs.kge.layout import StoreArrays, StoreHeader, damaged, open_store
from stonkgs.kge.lookup import NameIndex

#: How many names each process caches with their node numbers. A batch repeats many names; these take a few MB.
CACHED_NAMES = 16_384
#: Longer names are not cached: without this bound, long names from the input could fill the memory.
CACHED_LENGTH = 1024

#: The vectors of a store. `--half` of the commands that make a store makes them float16.
Vectors = NDArray[np.float32 | np.float16]
#: The values of `KgeStore.match`.
Match = Literal["exact", "identifier"]


class KgeStore(Stage):
    """The nodes of a knowledge graph, numbered from 0. Read-only; each process opens the file on first use.

    Opening takes the same time for any size of graph, and raises UserError for anything but a sound store. Names and
    walks are checked when they are used. `match` says how models find nodes in this store: by "exact" name only, or by
    that and then by "identifier"; None leaves it to the model. `number` and `identified` work with any `match`.
    """

    @checked("kge")
    def __init__(self, *, path: str | os.PathLike[str], match: Match | None = None) -> None:
        self.path = os.fspath(path)
        self.match = match
        #: the digest that the store had in the process that has sent it to this one
        self._expected: str | None = None

    @classmethod
    def published(cls, *, path: str | os.PathLike[str] | None = None, match: Match | None = None) -> "KgeStore":
        """Returns the store that the published models were trained with, or the one at `path` if that is given.

        The first use fetches and builds it. Raises UserError.
        """
        # Imported by name: `published` builds on this package, so a plain import would be circular.
        return cls(path=path or import_module("stonkgs.published.prepare").store_path(), match=match)

    def __getstate__(self) -> dict[str, str | None]:
        # Only the settings: a pickled map would be a full copy of the graph.
        digest = self.digest if "_opened" in self.__dict__ else self._expected
        return {"path": self.path, "match": self.match, "_expected": digest}

    @cached_property
    def _opened(self) -> tuple[StoreHeader, StoreArrays]:
        header, arrays = open_store(self.path)
        if self._expected not in (None, header.digest):  # its nodes have other numbers
            raise UserError(f"{self.path}: was replaced by another store while it was in use; restore it")
        return header, arrays

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
    def header(self) -> StoreHeader:
        """Version, digest, origin and size of the file. Raises UserError if it is no sound store."""
        return self._opened[0]

    @property
    def digest(self) -> str:
        """SHA-256 of names, vectors and walks, as the file states it."""
        return self.header.digest

    @cached_property
    def vectors(self) -> Vectors:
        """All vectors, float32 or float16 [N, D], memory-mapped."""
        return self._opened[1]["vectors"]

    @cached_property
    def walks(self) -> NDArray[np.int32]:
        """All walks, int32 [N, L], memory-mapped. They are not checked; `walk` checks one."""
        return self._opened[1]["walks"]

    @property
    def nodes(self) -> int:
        """N, the number of nodes."""
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def walk_length(self) -> int:
        """L, the number of nodes in a walk; 0 for a store without walks."""
        return int(self.walks.shape[1])

    def number(self, name: str) -> int:
        """Returns the number of the node with exactly this name, else -1."""
        return self._number(name)

    def identified(self, name: str) -> int:
        """Returns the number of the only node whose name is the same apart from labels; see `identifier_form`.

        Returns -1 if there is none, or if there are several, because then only the exact name tells which is meant.
        """
        return self._identified(name)

    def name(self, number: int) -> str:
        """Returns the name of a node. Raises IndexError outside 0..N-1, UserError if the store is damaged."""
        self._check(number, number)
        try:
            return self._index.name_bytes(number).decode()
        except UnicodeDecodeError:
            raise damaged(self.path, f"the name of node {number} is not UTF-8") from None

    def walk(self, number: int) -> NDArray[np.int32]:
        """Returns the walk of a node, int32 [L], all -1 if it has none.

        Raises IndexError outside 0..N-1, UserError if the store is damaged.
        """
        self._check(number, number)
        walk: NDArray[np.int32] = self.walks[number]
        if walk.min(initial=-1) < -1 or walk.max(initial=-1) >= self.nodes:
            raise damaged(self.path, f"the walk of node {number} leaves the graph")
        return walk

    def gather(self, numbers: NDArray[np.integer[Any]], out: Vectors | None = None) -> Vectors:
        """Copy the vectors of the nodes `numbers` [n] to `out` [n, D], by default a new array, and return it.

        `out` must have the store's dtype, else TypeError is raised. Raises IndexError outside 0..N-1.
        """
        if len(numbers):
            self._check(int(numbers.min()), int(numbers.max()))
        if out is not None and out.dtype != self.vectors.dtype:  # numpy would silently lose precision
            raise TypeError(f"gather into {out.dtype}, where the store has {self.vectors.dtype}")
        # The numbers are checked already. mode="raise" would copy through a buffer if `out` is given.
        return np.take(self.vectors, numbers, axis=0, out=out, mode="clip")

    def _check(self, lowest: int, highest: int) -> None:
        # Checked here because numpy counts negative numbers from the end.
        if lowest < 0 or highest >= self.nodes:
            wrong = lowest if lowest < 0 else highest
            raise IndexError(f"{self.path}: there is no node {wrong}; nodes are numbered 0 to {self.nodes - 1}")


def _cached(find: Callable[[bytes], int]) -> Callable[[str], int]:
    """Returns a cached look-up by text. It refers to the index only: a reference to the store would be a cycle."""

    def number(name: str) -> int:
        try:
            return find(name.encode())
        except UnicodeEncodeError:  # JSON can hold a lone surrogate, which no node's name has
            return -1

    remembered = lru_cache(CACHED_NAMES)(number)
    return lambda name: remembered(name) if len(name) <= CACHED_LENGTH else number(name)
