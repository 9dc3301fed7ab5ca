"""Which rows of a source are used, in which part, and what they are to be taken for."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.model.decision import CLASS_SEPARATOR
from stonkgs.source.base import Reader, World
from stonkgs.source.split import Split
from stonkgs.statement import Rejection, Statement, Tally
from stonkgs.train.protocol import Protocol
from stonkgs.train.task import Classes, Task, Unused

#: A row's class, or with multi_label its classes.
Target = int | tuple[int, ...]
#: The column of `Part` that holds the name of a row's class.
TRUTH = "truth"


def numbers(target: Target) -> tuple[int, ...]:
    """The classes of a row, one or several."""
    return target if isinstance(target, tuple) else (target,)


class Labelled(NamedTuple):
    """A row that can be learned from."""

    #: its place, from 0, among all labelled rows in the input's order
    number: int
    statement: Statement
    target: Target


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows of a planned source that a task and a protocol make use of. Travels to the workers."""

    reader: Reader
    task: Task
    protocol: Protocol
    classes: Classes
    #: labelled rows before each split: int64 [splits]
    first: npt.NDArray[np.int64]

    def labelled(self, split: Split) -> Iterator[Labelled]:
        """The labelled rows of a split, whatever their part, without those that are not drawn."""
        number = int(self.first[split.number])
        for statement, target in labelled(self.reader, self.task, self.classes, split):
            if self.protocol.drawn(number):
                yield Labelled(number, statement, target)
            number += 1

    def rows(self, split: Split, part: str) -> Iterator[Labelled]:
        """Those of one part."""
        for row in self.labelled(split):
            if self.protocol.part(row.statement, row.number) == part:
                yield row


def labelled(reader: Reader, task: Task, classes: Classes, split: Split) -> Iterator[tuple[Statement, Target]]:
    """The rows of a split that have a class, with its number."""
    for record in reader.read(split):
        if isinstance(record, Rejection):
            continue
        values = task.values(record)
        if not isinstance(values, Unused) and (target := classes.target(values)) is not None:
            yield record, target


@dataclass(frozen=True, eq=False)
class Part(Reader):
    """One part of a selection, for whatever reads rows: with a further column, `truth`, the names of the classes.

    What cannot be used is passed over: it was reported when the rows were counted.
    """

    selection: Selection
    name: str

    @classmethod
    def of(cls, selection: Selection, name: str, rows: int) -> Self:
        """A part as a process reads it that is alone; `rows` is how many it has."""
        inner = selection.reader
        schema = inner.plan.schema.append(pa.field(TRUTH, pa.string()))
        return cls(inner.source, replace(inner.plan, schema=schema, rows=rows), World(), selection, name)

    def read(self, split: Split) -> Generator[Statement | Rejection, None, Tally]:
        labels = self.selection.classes.labels
        for _, statement, target in self.selection.rows(split, self.name):
            truth = CLASS_SEPARATOR.join(labels[number] for number in numbers(target))
            yield replace(statement, extra={**statement.extra, TRUTH: truth})
        return Tally()
