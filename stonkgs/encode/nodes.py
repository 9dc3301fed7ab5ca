"""Finds the nodes of statements in the store, and records how they were found."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from stonkgs.encode.inputs import Arrays, Input
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Statement


class Found(IntEnum):
    """How a node was found in the store."""

    UNKNOWN = 0
    EXACT = 1
    #: by its identifier: p(HGNC:1748 ! CDH1) is found although the store uses another symbol
    IDENTIFIER = 2


class Nodes(Input):
    """Records how the source and the target of each statement were found. Outputs report it; no network reads it.

    With `match` "exact", nodes are found by their exact name; with "identifier", also by their identifier form if the
    exact name is unknown. Arrays: `found`, int8 [B, 2], values of Found.
    """

    def __init__(self, kge: KgeStore, *, match: str = "exact") -> None:
        self.kge = kge
        self.match = match

    def find(self, name: str) -> tuple[int, Found]:
        """Returns the number of the node with this name, -1 if there is none, and how it was found."""
        if (number := self.kge.number(name)) >= 0:
            return number, Found.EXACT
        if self.match == "identifier" and (number := self.kge.identified(name)) >= 0:
            return number, Found.IDENTIFIER
        return -1, Found.UNKNOWN

    def encode(self, statements: Sequence[Statement]) -> list[tuple[Found, Found]]:
        """Returns how the two nodes of each statement were found."""
        return [(self.find(statement.source)[1], self.find(statement.target)[1]) for statement in statements]

    def collate(self, values: Sequence[tuple[Found, Found]]) -> Arrays:
        return {"found": np.array(values, np.int8)}
