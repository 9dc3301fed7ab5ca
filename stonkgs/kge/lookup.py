"""Node numbers by name, through the sorted hashes of a store."""

import bisect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.identifier import identifier_form
from stonkgs.kge.layout import Arrays, damaged, name_hash

#: sorted hashes, and the node of each
Index = tuple["memoryview[int]", "memoryview[int]"]


class NameIndex:
    """Finds nodes in a store's arrays. Raises UserError where the arrays contradict themselves."""

    def __init__(self, *, path: str, arrays: Arrays) -> None:
        self._path = path
        self._names, self._offsets = arrays["names"].data, _view(arrays["name_offsets"], "q")
        self._exact: Index = _view(arrays["hashes"], "Q"), _view(arrays["hash_order"], "i")
        self._identifiers: Index = _view(arrays["identifier_hashes"], "Q"), _view(arrays["identifier_order"], "i")

    def find(self, wanted: bytes) -> int:
        """The number of the node of exactly this name in UTF-8, or -1."""
        found = self._nodes(self._exact, wanted, bytes, 1)
        return found[0] if found else -1

    def find_identified(self, name: bytes) -> int:
        """The number of the one node that has this name's identifier form, or -1."""
        found = self._nodes(self._identifiers, identifier_form(name), identifier_form, 2)
        return found[0] if len(found) == 1 else -1

    def _nodes(self, index: Index, wanted: bytes, form: Callable[[bytes], bytes], most: int) -> list[int]:
        """The nodes whose name has a form, `most` of them. Forms may share a hash, so that the bytes decide."""
        (hashes, order), key = index, name_hash(wanted)
        position = bisect.bisect_left(hashes, key)
        nodes: list[int] = []
        while len(nodes) < most and position < len(hashes) and hashes[position] == key:
            number = order[position]
            if not 0 <= number < len(hashes):
                raise damaged(self._path, "the name index points outside the nodes")
            found = form(self.encoded(number))
            if found == wanted:
                nodes.append(number)
            elif name_hash(found) != key:  # a forged run of equal hashes would be read to its end, at every look-up
                raise damaged(self._path, f"the name index has another hash for node {number}")
            position += 1
        return nodes

    def encoded(self, number: int) -> bytes:
        """The UTF-8 bytes of a node's name."""
        start, stop = self._offsets[number], self._offsets[number + 1]
        if not 0 <= start <= stop <= len(self._names):
            raise damaged(self._path, f"the name of node {number} lies outside the names")
        return self._names[start:stop].tobytes()


def _view(array: NDArray[Any], code: str) -> "memoryview[int]":
    """One entry of it takes a third of numpy's time, and bisect a quarter of np.searchsorted's."""
    # Cast from bytes: a repacked store may begin an array anywhere, and numpy's own buffer is then not readable.
    view: memoryview[int] = array.view(np.uint8).data.cast(code)  # type: ignore[call-overload]
    return view
