"""Statement -> Example: each input of an architecture encodes the statement for itself."""

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
    """One statement as numbers: a value for each input that the architecture asks for.

    The properties are for the inputs of STonKGs, and raise KeyError where the architecture does not ask for them.
    T <= text length; G = 2 x walk length + 2.
    """

    statement: Statement
    #: name of an input -> what it made of the statement
    values: Mapping[str, Any]
    #: the inputs by name; they know how to put the values of a batch together
    inputs: Mapping[str, Input]

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """int32 [T], [CLS] pieces [SEP]"""
        tokens: npt.NDArray[np.int32] = self.values["text"][0]
        return tokens

    @property
    def text_truncated(self) -> bool:
        """Whether the text was cut to fit."""
        return bool(self.values["text"][1])

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """int32 [G], rows of the store's vectors, or UNKNOWN, SEPARATOR, MASK"""
        rows: npt.NDArray[np.int32] = self.values["walks"]
        return rows

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """float32 [G, D], gathered from the memory map when asked for; zeros where no node of the store stands."""
        walks: Any = self.inputs["walks"]
        vectors: npt.NDArray[np.float32] = walks.vectors(self.rows)
        return vectors

    @property
    def found(self) -> tuple[Found, Found]:
        """How the source and the target were found in the store."""
        found: tuple[Found, Found] = self.values["nodes"]
        return found


class Encoder:
    """Encodes statements for one model and one store, by the model's inputs. Picklable; files open on first use."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self.inputs = inputs

    def sort(self, examples: list[tuple[int, Example]]) -> None:
        """Sort examples with their positions as their first input says, and where that is equal, by position."""
        if self.inputs:
            name, first = next(iter(self.inputs.items()))
            examples.sort(key=lambda item: (first.order(item[1].values[name]), item[0]))

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        """Encode a window of statements; each input takes them all at once."""
        columns = [source.encode(statements) for source in self.inputs.values()]
        rows = zip(*columns, strict=True) if columns else (() for _ in statements)
        return [
            Example(statement, dict(zip(self.inputs, row, strict=True)), self.inputs)
            for statement, row in zip(statements, rows, strict=True)
        ]
