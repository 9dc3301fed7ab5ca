"""Numbers the nodes and writes the sorted hash indexes. Its arrays are kept on disk instead of in memory."""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.identifier import identifier_form
from stonkgs.kge.layout import StoreArrays, name_hash

#: How many entries are handled at a time: 8 MB per array.
CHUNK = 1 << 20
#: How many names are handled at a time, as Python objects of about 80 bytes.
BATCH = 1 << 16

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class DiskArray:
    """An array that grows in an unnamed temporary file, which vanishes with the process."""

    def __init__(self, file: BinaryIO, dtype: str) -> None:
        self._file, self._dtype = file, np.dtype(dtype)
        self._maps: list[mmap.mmap] = []

    def append(self, values: bytes | NDArray[Any]) -> None:
        """Append values."""
        self._file.write(values if isinstance(values, bytes) else np.asarray(values, self._dtype).tobytes())

    def zeros(self, count: int) -> "DiskArray":
        """Append zeros and return self. They are really written: on a full disk this fails, and not the map later."""
        for start in range(0, count, CHUNK):
            self.append(bytes(self._dtype.itemsize * min(CHUNK, count - start)))
        return self

    def mapped(self) -> NDArray[Any]:
        """Returns a writable memory map of all values."""
        self._file.flush()
        if not os.fstat(self._file.fileno()).st_size:
            return np.empty(0, self._dtype)
        self._maps.append(mmap.mmap(self._file.fileno(), 0))
        return np.frombuffer(self._maps[-1], self._dtype)

    def read(self, start: int, stop: int) -> bytes:
        """Returns the bytes [start, stop) without a map of them, whose pages would count as this process' memory."""
        self._file.flush()
        data = os.pread(self._file.fileno(), stop - start, start)
        while len(data) < stop - start:  # the system reads at most 2 GB at a time
            data += os.pread(self._file.fileno(), stop - start - len(data), start + len(data))
        return data

    def release(self) -> None:
        """Release the pages of the maps. The page cache keeps their content, and this process stays small."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)


class Scratch(ExitStack):
    """Creates disk arrays in a folder, and closes them when the context ends."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._arrays: list[DiskArray] = []

    def new_array(self, dtype: str) -> DiskArray:
        """Create an empty array."""
        self._arrays.append(self._opened(dtype))
        return self._arrays[-1]

    def _opened(self, dtype: str) -> DiskArray:
        return DiskArray(cast(BinaryIO, self.enter_context(tempfile.TemporaryFile(dir=self._folder))), dtype)

    def release(self) -> None:
        """Release the pages of all maps."""
        for array in self._arrays:
            array.release()


class LineNames(NamedTuple):
    """The names in the file of vectors, one for each line."""

    text: DiskArray
    """uint8 [bytes]: all names in UTF-8, one after the other."""
    offsets: Ints
    """int64 [lines + 1]: where each name starts in `text`."""
    hashes: Hashes
    """uint64 [lines]"""

    def name(self, line: int) -> bytes:
        """Returns the name of a line. Lines are counted from 0."""
        return self.text.read(int(self.offsets[line]), int(self.offsets[line + 1]))


class NameFile:
    """Names that are appended one after the other, in files in a scratch folder."""

    def __init__(self, scratch: Scratch) -> None:
        self._text, self._offsets, self._hashes = (scratch.new_array(dtype) for dtype in ("|u1", "<i8", "<u8"))
        self._offsets.append(np.zeros(1))
        self._end = 0

    def append(self, names: Sequence[bytes]) -> None:
        """Append one name or more."""
        ends = self._end + np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        self._end = int(ends[-1])
        self._text.append(b"".join(names))
        self._offsets.append(ends)
        self._hashes.append(_hashes(names))

    def names(self) -> LineNames:
        """Returns all of them."""
        return LineNames(self._text, self._offsets.mapped(), self._hashes.mapped())


class Numbering(NamedTuple):
    """The node number of each line. Nodes are numbered in the order of their first lines."""

    numbers: Ints
    """int64 [lines]"""
    nodes: int
    """Number of nodes."""
    name_bytes: int
    """Bytes of all nodes' names together."""


def number_lines(names: LineNames, scratch: Scratch) -> Numbering:
    """Number the nodes. A line that repeats a name has the number of the name's first line."""
    numbers = scratch.new_array("<i8").zeros(len(names.hashes)).mapped()
    for hashes, lines in _sorted_buckets(names.hashes):
        scratch.release()
        for line, first in _repeats(names, hashes, lines):
            numbers[line] = first + 1  # 0 marks the first line of a name
        scratch.release()
    return _count(numbers, names.offsets)


def _sorted_buckets(hashes: Hashes) -> Iterator[tuple[Hashes, Ints]]:
    """Yields all hashes in ascending order with their positions, about CHUNK at a time.

    Hashes are distributed uniformly, so equal ranges of values hold about equally many.
    """
    buckets = -(-len(hashes) // CHUNK)
    for number in range(buckets):
        low, high = np.uint64(number * 2**64 // buckets), np.uint64((number + 1) * 2**64 // buckets - 1)
        positions = np.concatenate(
            [start + np.flatnonzero((part >= low) & (part <= high)) for start, part in chunks(hashes)]
        )
        found = hashes[positions]
        order = np.argsort(found, kind="stable")  # equal hashes keep the order of their positions
        yield found[order], positions[order]


def _repeats(names: LineNames, hashes: Hashes, lines: Ints) -> Iterator[tuple[int, int]]:
    """Yields (line, first line of the name) for each line that repeats a name. Equal hashes are compared by name."""
    current, firsts = -1, dict[bytes, int]()
    for position in np.flatnonzero(hashes[1:] == hashes[:-1]):
        line, following = int(lines[position]), int(lines[position + 1])
        if hashes[position] != current:
            current, firsts = int(hashes[position]), {names.name(line): line}
        first = firsts.setdefault(names.name(following), following)
        if first != following:
            yield following, first


def _count(numbers: Ints, offsets: Ints) -> Numbering:
    """Replace the marks (0 for a first line, else 1 + the first line) by node numbers, in place."""
    nodes = name_bytes = 0
    for start, part in chunks(numbers):
        firsts, repeats = np.flatnonzero(part == 0), np.flatnonzero(part)
        sources = part[repeats] - 1
        part[firsts] = nodes + np.arange(len(firsts))
        nodes += len(firsts)
        # First lines come before their repeats, so their numbers are known by now.
        numbers[start + repeats] = numbers[sources]
        name_bytes += int(np.diff(offsets[start : start + len(part) + 1])[firsts].sum())
    return Numbering(numbers, nodes, name_bytes)


def write_names(names: LineNames, line_numbers: Ints, arrays: StoreArrays) -> None:
    """Write the nodes' names and their offsets into the arrays of a store."""
    node, byte = 0, 0
    for start, numbers in chunks(line_numbers):
        firsts = np.diff(np.maximum.accumulate(np.append(node - 1, numbers))) > 0
        offsets = names.offsets[start : start + len(numbers) + 1]
        lengths = np.diff(offsets)
        ends = byte + np.cumsum(lengths[firsts])
        arrays["name_offsets"][node + 1 : node + 1 + len(ends)] = ends
        read = np.frombuffer(names.text.read(int(offsets[0]), int(offsets[-1])), np.uint8)
        text = read[np.repeat(firsts, lengths)]
        arrays["names"][byte : byte + len(text)] = text
        node, byte = node + len(ends), byte + len(text)


def write_indexes(arrays: StoreArrays, scratch: Scratch, release: Callable[[], None]) -> None:
    """Write both indexes of a store from its names. `release` releases the memory pages of `arrays`."""
    exact, identifiers = scratch.new_array("<u8"), scratch.new_array("<u8")
    for names in _name_batches(arrays):
        exact.append(_hashes(names))
        identifiers.append(_hashes(map(identifier_form, names)))
        release()
    for unsorted, hashes, order in (
        (exact, "hashes", "hash_order"),
        (identifiers, "identifier_hashes", "identifier_order"),
    ):
        start = 0
        for found, nodes in _sorted_buckets(unsorted.mapped()):
            stop = start + len(nodes)
            arrays[hashes][start:stop], arrays[order][start:stop] = found, nodes
            start = stop
            release()


def _name_batches(arrays: StoreArrays) -> Iterator[list[bytes]]:
    for start in range(0, len(arrays["hashes"]), BATCH):
        offsets = arrays["name_offsets"][start : start + BATCH + 1].tolist()
        text = arrays["names"][offsets[0] : offsets[-1]].tobytes()
        yield [text[begin - offsets[0] : end - offsets[0]] for begin, end in pairwise(offsets)]


def _hashes(names: Iterable[bytes]) -> Hashes:
    return np.fromiter(map(name_hash, names), np.uint64)


def chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields (first row, view of the rows from there) for pieces of about CHUNK entries."""
    rows = max(1, CHUNK * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]
