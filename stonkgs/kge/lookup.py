"""Finds node numbers by name in the sorted hashes of a store."""

import bisect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.identifier import identifier_form
from stonkgs.kge.layout import StoreArrays, damaged, name_hash

#: Sorted hashes, and the node number of each.
HashIndex = tuple["memoryview[int]", "memoryview[int]"]


class NameIndex:
    """Finds nodes in a store's arrays. Raises UserError if the arrays contradict themselves."""

    def __init__(self, *, path: str, arrays: StoreArrays) -> None:
        self._path = path
        self._names, self._offsets = arrays["names"].data, _view(arrays["name_offsets"], "q")
        self._exact: HashIndex = _view(arrays["hashes"], "Q"), _view(arrays["hash_order"], "i")
        self._identifiers: HashIndex = _view(arrays["identifier_hashes"], "Q"), _view(arrays["identifier_order"], "i")

    def find(self, wanted: bytes) -> int:
        """Returns the number of the node with exactly this UTF-8 name, else -1."""
        found = self._nodes(self._exact, wanted, bytes, 1)
        return found[0] if found else -1

    def find_identified(self, name: bytes) -> int:
        """Returns the number of the only node with this name's identifier form; -1 if there are none or several."""
        found = self._nodes(self._identifiers, identifier_form(name), identifier_form, 2)
        return found[0] if len(found) == 1 else -1

    def _nodes(self, index: HashIndex, wanted: bytes, form: Callable[[bytes], bytes], most: int) -> list[int]:
        """Returns up to `most` nodes whose name has the wanted form. Equal hashes are compared by their bytes."""
        (hashes, order), key = index, name_hash(wanted)
        position = bisect.bisect_left(hashes, key)
        nodes: list[int] = []
        while len(nodes) < most and position < len(hashes) and hashes[position] == key:
            number = order[position]
            if not 0 <= number < len(hashes):
                raise damaged(self._path, "the name index points outside the nodes")
            found = form(self.name_bytes(number))
            if found == wanted:
                nodes.append(number)
            elif (
                name_hash(found) != key
            ):  # else a forged index of equal hashes would be read to its end at every look-up
                raise damaged(self._path, f"the name index has another hash for node {number}")
            position += 1
        return nodes

    def name_bytes(self, number: int) -> bytes:
        """Returns the UTF-8 bytes of a node's name."""
        start, stop = self._offsets[number], self._offsets[number + 1]
        if not 0 <= start <= stop <= len(self._names):
            raise damaged(self._path, f"the name of node {number} lies outside the names")
        return self._names[start:stop].tobytes()


def _view(array: NDArray[Any], code: str) -> "memoryview[int]":
    """Returns a view of the array. It reads an entry in a third of numpy's time, and bisects in a quarter."""
    # Cast from bytes: an array of a repacked store may be unaligned, and its own buffer cannot be viewed then.
    view: memoryview[int] = array.view(np.uint8).data.cast(code)  # type: ignore[call-overload]
    return view
