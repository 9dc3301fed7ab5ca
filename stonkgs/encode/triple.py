"""The input `triple`: turns a statement into three rows of the store's vectors: source, relation and target."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.encode.inputs import Arrays
from stonkgs.encode.nodes import Nodes
from stonkgs.encode.walks import GraphHalf
from stonkgs.kge.shift import SEPARATOR, UNKNOWN, vector_rows
from stonkgs.source.fields import text_of
from stonkgs.statement import Statement

#: Length of this graph half: source, relation, target, separator.
LENGTH = 4


class Triple(NamedTuple):
    """What is encoded of one statement."""

    #: int32 [4]: rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK
    rows: npt.NDArray[np.int32]
    #: whether the relation is in the store
    relation_known: bool


class Triples(GraphHalf[Triple]):
    """Source, relation and target, each one row of the store's vectors. No walks are read.

    The relation is the value of the input's column `relation`, and is looked up by exactly that text: a store for this
    input has relations among its names. A value that is no text is looked up as a graph names it: see `text_of`. One
    that is missing or not in the store is unknown. Arrays and tensors are those of `GraphHalf` with G = 4, and
    the array `known`, bool [B], whether each relation is in the store.
    """

    def __init__(self, nodes: Nodes, *, relation: str, legacy_node_shift: bool = False) -> None:
        super().__init__(nodes, legacy_node_shift=legacy_node_shift)
        self.columns = (relation,)

    def encode(self, statements: Sequence[Statement]) -> list[Triple]:
        """Returns the rows of each statement."""
        return [self._triple(statement) for statement in statements]

    def _triple(self, statement: Statement) -> Triple:
        name = statement.extra.get(self.columns[0])
        relation = UNKNOWN if name is None else self.kge.number(text_of(name))
        source, target = self.nodes.find(statement.source)[0], self.nodes.find(statement.target)[0]
        # An unknown name has the number -1, which equals UNKNOWN.
        half = np.array([source, relation, target, SEPARATOR], np.int32)
        return Triple(vector_rows(half, legacy_node_shift=self.legacy_node_shift), relation != UNKNOWN)

    def collate(self, values: Sequence[Triple]) -> Arrays:
        known = np.array([triple.relation_known for triple in values], np.bool_)
        return {**self.collated([triple.rows for triple in values]), "known": known}
