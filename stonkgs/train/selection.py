"""Reads the labelled rows of a source, by part, each with its class."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.model.decision import CLASS_SEPARATOR
from stonkgs.protocol import Protocol
from stonkgs.source.base import Reader, World
from stonkgs.source.split import Split
from stonkgs.statement import Rejection, Statement, Tally
from stonkgs.train.task import Classes, Task, Unused

#: The number of a row's class, or in a multi-label task those of its classes.
Target = int | tuple[int, ...]
#: The column that `PartReader` adds: the names of a row's classes.
TRUTH = "truth"


def class_numbers(target: Target) -> tuple[int, ...]:
    """Returns the numbers of a row's classes, one or several."""
    return target if isinstance(target, tuple) else (target,)


class LabelledRow(NamedTuple):
    """A row that has a class."""

    #: from 0, among all labelled rows in the input's order
    number: int
    statement: Statement
    target: Target


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows of a planned source that a task and a protocol use. It is sent to the worker processes."""

    reader: Reader
    task: Task
    protocol: Protocol
    classes: Classes
    #: labelled rows before each split: int64 [splits]
    first: npt.NDArray[np.int64]

    def labelled(self, split: Split) -> Iterator[LabelledRow]:
        """Yields the labelled rows of a split, of all parts, without those that `max_rows` leaves out."""
        number = int(self.first[split.number])
        for statement, target in with_targets(self.reader, self.task, self.classes, split):
            if self.protocol.drawn(number):
                yield LabelledRow(number, statement, target)
            number += 1

    def rows(self, split: Split, part: str) -> Iterator[LabelledRow]:
        """Yields the rows of one part in a split."""
        for row in self.labelled(split):
            if self.protocol.part(row.statement, row.number) == part:
                yield row


def with_targets(reader: Reader, task: Task, classes: Classes, split: Split) -> Iterator[tuple[Statement, Target]]:
    """Yields each row of a split that has a class, with the class' number."""
    for record in reader.read(split):
        if isinstance(record, Rejection):
            continue
        values = task.values(record)
        if not isinstance(values, Unused) and (target := classes.target(values)) is not None:
            yield record, target


@dataclass(frozen=True, eq=False)
class PartReader(Reader):
    """Reads one part of a selection, with a further column `truth`: the names of the classes, joined by `|`.

    It skips rows that cannot be used. They were reported when the rows were counted.
    """

    selection: Selection
    name: str

    @classmethod
    def of(cls, selection: Selection, name: str, rows: int) -> Self:
        """Make the reader of a part of `rows` rows, for a single process."""
        inner = selection.reader
        schema = inner.plan.schema.append(pa.field(TRUTH, pa.string()))
        plan = replace(inner.plan, schema=schema, rows=rows)
        return cls(inner.source, plan, World(), inner.watched, selection, name)

    def read(self, split: Split) -> Generator[Statement | Rejection, None, Tally]:
        labels = self.selection.classes.labels
        for _, statement, target in self.selection.rows(split, self.name):
            truth = CLASS_SEPARATOR.join(labels[number] for number in class_numbers(target))
            yield replace(statement, extra={**statement.extra, TRUTH: truth})
        return Tally()
