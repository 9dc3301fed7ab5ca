"""Statement -> Example: tokens, walks, and vectors behind a memory map."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stonkgs.encode.text import TextEncoder
from stonkgs.encode.walks import graph_half, vector_rows
from stonkgs.kge.store import KgeStore
from stonkgs.statement import Statement


class Found(IntEnum):
    """How a node was found in the store."""

    UNKNOWN = 0
    EXACT = 1
    #: by its identifier, as p(HGNC:1748 ! CDH1) under a renamed symbol
    IDENTIFIER = 2


def _nothing() -> npt.NDArray[np.int32]:
    return np.zeros(0, np.int32)


@dataclass(slots=True)
class Example:
    """One statement as numbers, none where nothing is read. T <= text length; G = 2 x walk length + 2."""

    statement: Statement
    #: int32 [T], [CLS] pieces [SEP]
    tokens: npt.NDArray[np.int32] = field(default_factory=_nothing)
    #: int32 [G], rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK
    rows: npt.NDArray[np.int32] = field(default_factory=_nothing)
    #: how the source and the target were found in the store
    found: tuple[Found, Found] = (Found.UNKNOWN, Found.UNKNOWN)
    text_truncated: bool = False
    #: None where no graph is read
    kge: KgeStore | None = None

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """float32 [G, D], gathered from the memory map when asked for; zeros where no node of the store stands."""
        if self.kge is None:
            return np.zeros((0, 0), np.float32)
        vectors = np.zeros((len(self.rows), self.kge.dimension), np.float32)
        vectors[self.rows >= 0] = self.kge.gather(self.rows[self.rows >= 0])
        return vectors


class Encoder:
    """Encodes statements for one model and one store. Picklable; files open on first use.

    `match` says how nodes are found: by their "exact" name, or by that first and then by their "identifier".
    """

    def __init__(
        self, *, text: TextEncoder, kge: KgeStore, match: str = "exact", legacy_node_shift: bool = False
    ) -> None:
        self.text = text
        self.kge = kge
        self.match = match
        self.legacy_node_shift = legacy_node_shift

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        """Encode a window of statements; the tokenizer takes them all at once."""
        texts = self.text([statement.evidence for statement in statements])
        return [self._example(*pair) for pair in zip(statements, texts, strict=True)]

    def _example(self, statement: Statement, text: tuple[npt.NDArray[np.int32], bool]) -> Example:
        source, source_found = self._node(statement.source)
        target, target_found = self._node(statement.target)
        return Example(
            statement=statement,
            tokens=text[0],
            rows=vector_rows(graph_half(self.kge, source, target), legacy_node_shift=self.legacy_node_shift),
            found=(source_found, target_found),
            text_truncated=text[1],
            kge=self.kge,
        )

    def _node(self, name: str) -> tuple[int, Found]:
        """The number of the node of this name, -1 where there is none, and how it was found."""
        if (number := self.kge.number(name)) >= 0:
            return number, Found.EXACT
        if self.match == "identifier" and (number := self.kge.identified(name)) >= 0:
            return number, Found.IDENTIFIER
        return -1, Found.UNKNOWN


class NoEncoder:
    """Encodes nothing: for what reads the input's columns alone."""

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        return [Example(statement) for statement in statements]
