"""Statement -> Example: tokens, walks, and vectors behind a memory map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stonkgs.encode.kge import KgeStore
from stonkgs.encode.text import TextEncoder
from stonkgs.encode.walks import graph_half, vector_rows
from stonkgs.statement import Statement


@dataclass(slots=True)
class Example:
    """One statement as numbers. T <= text length; G = 2 x walk length + 2."""

    statement: Statement
    #: int32 [T], [CLS] pieces [SEP]
    tokens: npt.NDArray[np.int32]
    #: int32 [G], rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK
    rows: npt.NDArray[np.int32]
    source_known: bool
    target_known: bool
    text_truncated: bool
    kge: KgeStore

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """float32 [G, D], gathered from the memory map when asked for; zeros where no node of the store stands."""
        vectors = np.zeros((len(self.rows), self.kge.dimension), np.float32)
        vectors[self.rows >= 0] = self.kge.gather(self.rows[self.rows >= 0])
        return vectors


class Encoder:
    """Encodes statements for one model and one store. Picklable; files open on first use."""

    def __init__(self, *, text: TextEncoder, kge: KgeStore, legacy_node_shift: bool = False) -> None:
        self.text = text
        self.kge = kge
        self.legacy_node_shift = legacy_node_shift

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        """Encode a window of statements; the tokenizer takes them all at once."""
        texts = self.text([statement.evidence for statement in statements])
        return [self._example(*pair) for pair in zip(statements, texts, strict=True)]

    def _example(self, statement: Statement, text: tuple[npt.NDArray[np.int32], bool]) -> Example:
        source, target = self.kge.number(statement.source), self.kge.number(statement.target)
        return Example(
            statement=statement,
            tokens=text[0],
            rows=vector_rows(graph_half(self.kge, source, target), legacy_node_shift=self.legacy_node_shift),
            source_known=source >= 0,
            target_known=target >= 0,
            text_truncated=text[1],
            kge=self.kge,
        )
