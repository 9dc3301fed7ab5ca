"""Makes numbers of triples, and leaves out those that a graph must not have."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stonkgs.errors import UserError
from stonkgs.graph.leave_out import Choice, LeaveOut
from stonkgs.graph.triples import Triples
from stonkgs.graph.words import left_out_words
from stonkgs.kge.index import LineNames, NameFile, Scratch
from stonkgs.source.fields import text_of
from stonkgs.statement import Rejection, Statement

#: Rows that are numbered at a time: their distinct names are held in memory.
BLOCK: Final = 1 << 17
#: The most relations of a graph: their names are held in memory.
MOST_RELATIONS: Final = 1_000_000
#: Why a row is no triple, beside the reasons of `leave_out`.
REJECTED, EMPTY = "rejected", "empty"


class Numbered(NamedTuple):
    """The kept rows of the input as numbers, in its order."""

    names: LineNames
    #: int64 [rows, 2]: which of `names` is source and target
    ends: NDArray[np.int64]
    #: int32 [rows]: which of `relations`
    kinds: NDArray[np.int32]
    relations: tuple[str, ...]


@dataclass
class Reading:
    """Reads triples once, and counts what becomes of the rows."""

    triples: Triples
    choice: Choice
    #: REJECTED, EMPTY, and the reasons of `leave_out` -> rows
    left_out: Counter[str] = field(default_factory=Counter)
    #: what else to tell -> rows
    told: Counter[str] = field(default_factory=Counter)
    #: which of the tested pairs a kept row states, by 1 in their order
    stated: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.stated = bytearray(len(self.choice.pairs))

    def numbered(self, scratch: Scratch) -> Numbered:
        """Read all rows, and return the kept ones. Raises UserError if none is kept."""
        names = NameFile(scratch)
        ends, kinds = scratch.new_array("<i8"), scratch.new_array("<i4")
        relations, lines = dict[str, int](), 0
        kept = self._kept()
        while rows := list(islice(kept, BLOCK)):
            block = _Block()
            for statement in rows:
                block.add(statement, relations, self.triples.relation)
            ends.append(np.array(block.ends, np.int64) + lines)
            kinds.append(np.array(block.kinds, np.int32))
            names.append([name.encode() for name in block.names])
            lines += len(block.names)
            if len(relations) > MOST_RELATIONS:
                raise UserError(f"over {MOST_RELATIONS:,} relations; is the relation's column the right one?")
        if not lines:
            raise UserError(f"the graph is empty: {self.said()}")
        return Numbered(names.names(), ends.mapped().reshape(-1, 2), kinds.mapped(), tuple(relations))

    def said(self) -> str:
        """Returns in words why rows are no triples."""
        return f"rows that are left out: {left_out_words(self.left_out)}"

    def _kept(self) -> Iterator[Statement]:
        rows = tqdm(self.triples.rows(self.told), "triples", unit=" rows", unit_scale=True, leave=False, disable=None)
        chooses = bool(self.choice.where) or self.choice.protocol is not None
        for row in rows:
            if isinstance(row, Rejection):
                self.left_out[REJECTED] += 1
            elif not (row.source and row.target and _is_text(row)):
                self.left_out[EMPTY] += 1
            elif not chooses or self._chosen(row):
                yield row

    def _chosen(self, row: Statement) -> bool:
        if reason := self.choice.reason(row):
            self.left_out[reason] += 1
        elif (pair := self.choice.tested_pair(row)) >= 0:
            self.stated[pair] = 1
        return not reason


def chosen(triples: Triples, without: LeaveOut) -> Choice:
    """Returns what chooses among triples. Takes a pass over the rows that will be tested. Raises UserError."""

    def rows() -> Iterator[Statement | Rejection]:
        told = triples.rows(Counter())
        return iter(tqdm(told, "tested rows", unit=" rows", unit_scale=True, leave=False, disable=None))

    return without.choice(triples.columns, rows, files=triples.files, named=triples.named)


class _Block:
    """Some rows, with their distinct names in order of first occurrence."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.ends: list[tuple[int, int]] = []
        self.kinds: list[int] = []

    def add(self, statement: Statement, relations: dict[str, int], column: str | None) -> None:
        """Add a row."""
        names = self.names
        source = names.setdefault(statement.source, len(names))
        target = names.setdefault(statement.target, len(names))
        self.ends.append((source, target))
        value = statement.extra[column] if column else None
        relation = "" if value is None else text_of(value)
        self.kinds.append(relations.setdefault(relation, len(relations)))


def _is_text(statement: Statement) -> bool:
    """Returns whether the names can be written; JSON can hold half of a character."""
    try:
        (statement.source + statement.target).encode()
    except UnicodeEncodeError:
        return False
    return True
