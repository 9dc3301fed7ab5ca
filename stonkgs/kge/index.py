"""From the names of all lines to node numbers and the sorted hash indexes, on disk instead of in memory."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.identifier import identifier_form
from stonkgs.kge.layout import Arrays, name_hash

#: entries handled at a time: 8 MB an array
CHUNK = 1 << 20
#: names handled at a time, as Python objects of about 80 bytes
BATCH = 1 << 16

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class Column:
    """An array that grows in a file without a name, so that it is gone with the process."""

    def __init__(self, file: BinaryIO, dtype: str) -> None:
        self._file, self._dtype = file, np.dtype(dtype)

    def append(self, values: bytes | NDArray[Any]) -> None:
        """Add to the end."""
        self._file.write(values if isinstance(values, bytes) else np.asarray(values, self._dtype).tobytes())

    def zeros(self, count: int) -> "Column":
        """Add zeros, written out: a full disk must show here, not as a crash in the map."""
        for start in range(0, count, CHUNK):
            self.append(bytes(self._dtype.itemsize * min(CHUNK, count - start)))
        return self

    def array(self) -> NDArray[Any]:
        """A writable map of what was added."""
        self._file.flush()
        if not os.fstat(self._file.fileno()).st_size:
            return np.empty(0, self._dtype)
        return np.asarray(np.memmap(self._file, self._dtype, "r+"))


class Scratch(ExitStack):
    """Makes columns in a folder and closes them at its end."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def column(self, dtype: str) -> Column:
        """A new, empty column."""
        return Column(cast(BinaryIO, self.enter_context(tempfile.TemporaryFile(dir=self._folder))), dtype)


class Names(NamedTuple):
    """The name of every line of the vectors' file."""

    text: NDArray[np.uint8]
    """[bytes], UTF-8, one after the other."""
    offsets: Ints
    """[lines + 1]"""
    hashes: Hashes
    """[lines]"""

    def name(self, line: int) -> bytes:
        """The name of one line, from 0."""
        return self.text[self.offsets[line] : self.offsets[line + 1]].tobytes()


class Numbering(NamedTuple):
    """Which node each line is. Nodes are numbered in the order of their first line."""

    numbers: Ints
    """[lines]"""
    nodes: int
    name_bytes: int
    """Of all nodes."""


def number_lines(names: Names, scratch: Scratch) -> Numbering:
    """Number the nodes; a repeated name is the node of its first line."""
    numbers = scratch.column("<i8").zeros(len(names.hashes)).array()
    for hashes, lines in _sorted_buckets(names.hashes):
        for line, first in _repeats(names, hashes, lines):
            numbers[line] = first + 1  # 0 is a first line
    return _count(numbers, names.offsets)


def _sorted_buckets(hashes: Hashes) -> Iterator[tuple[Hashes, Ints]]:
    """All hashes in order with their places, about CHUNK at a time: hashes are uniform, so equal ranges hold alike."""
    buckets = -(-len(hashes) // CHUNK)
    for number in range(buckets):
        low, high = np.uint64(number * 2**64 // buckets), np.uint64((number + 1) * 2**64 // buckets - 1)
        places = np.concatenate(
            [start + np.flatnonzero((part >= low) & (part <= high)) for start, part in chunks(hashes)]
        )
        found = hashes[places]
        order = np.argsort(found, kind="stable")  # places stay in order within a hash
        yield found[order], places[order]


def _repeats(names: Names, hashes: Hashes, lines: Ints) -> Iterator[tuple[int, int]]:
    """(line, first line of the same name) for each line that repeats a name; sharing a hash is not enough."""
    current, firsts = -1, dict[bytes, int]()
    for position in np.flatnonzero(hashes[1:] == hashes[:-1]):
        line, following = int(lines[position]), int(lines[position + 1])
        if hashes[position] != current:
            current, firsts = int(hashes[position]), {names.name(line): line}
        first = firsts.setdefault(names.name(following), following)
        if first != following:
            yield following, first


def _count(numbers: Ints, offsets: Ints) -> Numbering:
    """Turn 0 for a first line and 1 + its first line for a repeat into node numbers, in place."""
    nodes = name_bytes = 0
    for start, part in chunks(numbers):
        firsts, repeats = np.flatnonzero(part == 0), np.flatnonzero(part)
        sources = part[repeats] - 1
        part[firsts] = nodes + np.arange(len(firsts))
        nodes += len(firsts)
        # A first line comes before its repeats, so that its number is there by now.
        numbers[start + repeats] = numbers[sources]
        name_bytes += int(np.diff(offsets[start : start + len(part) + 1])[firsts].sum())
    return Numbering(numbers, nodes, name_bytes)


def write_names(names: Names, line_numbers: Ints, arrays: Arrays) -> None:
    """Fill the names of a store."""
    node, byte = 0, 0
    for start, numbers in chunks(line_numbers):
        firsts = np.diff(np.maximum.accumulate(np.append(node - 1, numbers))) > 0
        offsets = names.offsets[start : start + len(numbers) + 1]
        lengths = np.diff(offsets)
        ends = byte + np.cumsum(lengths[firsts])
        arrays["name_offsets"][node + 1 : node + 1 + len(ends)] = ends
        text = names.text[offsets[0] : offsets[-1]][np.repeat(firsts, lengths)]
        arrays["names"][byte : byte + len(text)] = text
        node, byte = node + len(ends), byte + len(text)


def write_indexes(arrays: Arrays, scratch: Scratch, release: Callable[[], None]) -> None:
    """Fill both indexes of a store from its names; `release` lets go of the pages of `arrays`."""
    exact, identifiers = scratch.column("<u8"), scratch.column("<u8")
    for names in _name_batches(arrays):
        exact.append(_hashes(names))
        identifiers.append(_hashes(map(identifier_form, names)))
        release()
    for column, hashes, order in (
        (exact, "hashes", "hash_order"),
        (identifiers, "identifier_hashes", "identifier_order"),
    ):
        start = 0
        for found, nodes in _sorted_buckets(column.array()):
            stop = start + len(nodes)
            arrays[hashes][start:stop], arrays[order][start:stop] = found, nodes
            start = stop
            release()


def _name_batches(arrays: Arrays) -> Iterator[list[bytes]]:
    for start in range(0, len(arrays["hashes"]), BATCH):
        offsets = arrays["name_offsets"][start : start + BATCH + 1].tolist()
        text = arrays["names"][offsets[0] : offsets[-1]].tobytes()
        yield [text[begin - offsets[0] : end - offsets[0]] for begin, end in pairwise(offsets)]


def _hashes(names: Iterable[bytes]) -> Hashes:
    return np.fromiter(map(name_hash, names), np.uint64)


def chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(start, the rows from there that make about CHUNK entries), views."""
    rows = max(1, CHUNK * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]
