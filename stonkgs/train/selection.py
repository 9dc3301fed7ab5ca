"""Which rows of a source are used, in which part, and what they are to be taken for."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.model.decision import SEPARATOR
from stonkgs.source.base import Source
from stonkgs.source.split import Plan, Split
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

    source: Source
    task: Task
    protocol: Protocol
    classes: Classes
    #: labelled rows before each split: int64 [splits]
    first: npt.NDArray[np.int64]

    def labelled(self, split: Split) -> Iterator[Labelled]:
        """The labelled rows of a split, whatever their part, without those that are not drawn."""
        number = int(self.first[split.number])
        for statement, target in labelled(self.source, self.task, self.classes, split):
            if self.protocol.drawn(number):
                yield Labelled(number, statement, target)
            number += 1

    def rows(self, split: Split, part: str) -> Iterator[Labelled]:
        """Those of one part."""
        for row in self.labelled(split):
            if self.protocol.part(row.statement, row.number) == part:
                yield row


def labelled(source: Source, task: Task, classes: Classes, split: Split) -> Iterator[tuple[Statement, Target]]:
    """The rows of a split that have a class, with its number."""
    for record in source.read(split):
        if isinstance(record, Rejection):
            continue
        values = task.values(record)
        if not isinstance(values, Unused) and (target := classes.target(values)) is not None:
            yield record, target


class Part(Source):
    """One part of a selection, for whatever reads a source: with a further column, `truth`, the names of the classes.

    What cannot be used is passed over: it was reported when the rows were counted.
    """

    def __init__(self, selection: Selection, part: str, rows: int) -> None:
        inner = selection.source
        super().__init__(path=inner.path, columns=inner.columns, limit=inner.limit)
        assert inner.planned is not None
        self.selection = selection
        self.part = part
        schema = inner.planned.schema.append(pa.field(TRUTH, pa.string()))
        self.planned: Plan | None = replace(inner.planned, schema=schema, rows=rows)

    def read(self, split: Split) -> Generator[Statement | Rejection, None, Tally]:
        labels = self.selection.classes.labels
        for _, statement, target in self.selection.rows(split, self.part):
            truth = SEPARATOR.join(labels[number] for number in numbers(target))
            yield replace(statement, extra={**statement.extra, TRUTH: truth})
        return Tally()

    def schema(self, files: Sequence[str]) -> pa.Schema:
        return self.selection.source.schema(files)

    def reach(self, file: str, count: int) -> tuple[int, int]:
        return self.selection.source.reach(file, count)

    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        return self.selection.source.cuts(file, rows, stop)

    def first_line(self, file: str) -> int:
        return self.selection.source.first_line(file)
