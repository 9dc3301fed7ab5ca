"""Turns statements into Examples: every input of an architecture encodes its own part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stonkgs.encode.inputs import Input
from stonkgs.encode.nodes import Found
from stonkgs.statement import Statement


@dataclass(slots=True)
class Example:
    """One statement as numbers: a value for each input that the architecture reads.

    The properties give the inputs of STonKGs, and raise KeyError if the architecture does not read them.
    T <= text length; G = 2 x walk length + 2.
    """

    statement: Statement
    #: name of an input -> what it encoded
    values: Mapping[str, Any]
    #: name of an input -> the input itself, which can collate its values
    inputs: Mapping[str, Input]

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The text's token numbers, int32 [T]: [CLS], word pieces, [SEP]."""
        tokens: npt.NDArray[np.int32] = self.values["text"][0]
        return tokens

    @property
    def text_truncated(self) -> bool:
        """Whether the text was cut to fit."""
        return bool(self.values["text"][1])

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Rows of the store's vectors, int32 [G]; or UNKNOWN, SEPARATOR, MASK."""
        rows: npt.NDArray[np.int32] = self.values["walks"]
        return rows

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """The vectors of `rows`, float32 [G, D], read from the memory map each time; zeros for special rows."""
        walks: Any = self.inputs["walks"]
        vectors: npt.NDArray[np.float32] = walks.vectors(self.rows)
        return vectors

    @property
    def found(self) -> tuple[Found, Found]:
        """How source and target were found in the store."""
        found: tuple[Found, Found] = self.values["nodes"]
        return found


class Encoder:
    """Encodes statements for one model and one store. It can be pickled; files are opened on first use."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self.inputs = inputs

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of `Statement.extra` that some input reads."""
        return tuple(dict.fromkeys(column for entry in self.inputs.values() for column in entry.columns))

    def sort(self, examples: list[tuple[int, Example]]) -> None:
        """Sort (position, example) pairs in place, by the order of the first input and then by position."""
        if self.inputs:
            name, first = next(iter(self.inputs.items()))
            examples.sort(key=lambda item: (first.order(item[1].values[name]), item[0]))

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        """Encode statements. Each input gets all of them in one call."""
        columns = [entry.encode(statements) for entry in self.inputs.values()]
        rows = zip(*columns, strict=True) if columns else (() for _ in statements)
        return [
            Example(statement, dict(zip(self.inputs, row, strict=True)), self.inputs)
            for statement, row in zip(statements, rows, strict=True)
        ]
