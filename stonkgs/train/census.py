"""Counts the rows of a training before it begins: one pass reads their labels, a second one their parts."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stonkgs.errors import UserError
from stonkgs.model.answer import PREDICTION
from stonkgs.protocol import TEST, TRAIN, Protocol
from stonkgs.runs.account import SplitStart, json_line, rejection_to_json
from stonkgs.source.base import Reader, SplitRows
from stonkgs.source.split import Plan, Split
from stonkgs.statement import Rejection
from stonkgs.train.selection import TRUTH, Selection, class_numbers, with_targets
from stonkgs.train.task import Classes, Task, Unused
from stonkgs.writer.base import FLAGS

#: A column with more distinct combinations of values than this is probably not the label column.
MOST_VALUES = 100_000


@dataclass(frozen=True, eq=False)
class Census:
    """The classes of a task, and how many rows each class and part has."""

    classes: Classes
    #: part -> class -> rows
    parts: dict[str, dict[str, int]]
    #: part -> rows
    rows: dict[str, int]
    #: why a row is not used -> rows
    unused: dict[str, int]
    #: labelled rows before each split: int64 [splits]
    first: npt.NDArray[np.int64]
    #: all labelled rows, including those that `max_rows` leaves out
    labelled: int = 0
    #: rows that cannot be read
    rejected: int = 0
    #: reasons to doubt the figures, such as a class with few rows
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values, for training.json."""
        return {**asdict(self), "first": self.first.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make a census from the result of `to_json`."""
        classes = Classes(**{**values["classes"], "labels": tuple(values["classes"]["labels"])})
        return cls(**{**values, "classes": classes, "first": np.array(values["first"], np.int64)})

    def report(self) -> dict[str, Any]:
        """Returns the part that run.json shows, as JSON values."""
        return {
            "classes": list(self.classes.labels),
            "multi_label": self.classes.multi_label,
            **{key: getattr(self, key) for key in ("rows", "parts", "unused", "rejected", "warnings")},
        }

    def selection(self, reader: Reader, task: Task, protocol: Protocol) -> Selection:
        """Returns the counted rows, to be read again."""
        protocol.rows = self.labelled
        return Selection(reader, task, protocol, self.classes, self.first)


def census(
    reader: Reader, task: Task, protocol: Protocol, rejected: BinaryIO, *, labels: tuple[str, ...] | None = None
) -> Census:
    """Count the rows of a planned source. Rows that cannot be read are written to `rejected` as JSON Lines.

    With `labels` the classes are those of a finished model: see `Task.known`. Raises UserError if
    a column is missing, a label is no class, a class has too few rows, or a part has none.
    """
    _check_columns(reader, task, protocol)
    values, unused, failed = _values(reader, task, rejected)
    classes = task.known(values, labels) if labels else task.decide(values)
    if clash := sorted({PREDICTION, *FLAGS}.intersection(classes.labels)):
        raise UserError(f"class {clash[0]!r} has the name of an output column; give it another name with task.map")
    total = 0
    for found, count in values.items():
        if classes.target(found) is None:
            unused["several values" if len(found) > 1 and not classes.multi_label else "too rare"] += count
        else:
            total += count
    protocol.rows = total  # which max_rows and folds over rows depend on
    first, rows, parts = _parts(reader, task, protocol, classes)
    if total > sum(rows.values()):
        unused["not drawn"] = total - sum(rows.values())
    _check_parts(protocol, rows, parts)
    return Census(
        classes=classes,
        parts=parts,
        rows=rows,
        unused=dict(unused),
        first=first,
        labelled=total,
        rejected=failed,
        warnings=list(_warnings(classes, parts)),
    )


def _check_columns(reader: Reader, task: Task, protocol: Protocol) -> None:
    names = reader.source.others(reader.plan.schema)
    task.check(names)
    if TRUTH in reader.plan.schema.names:
        raise UserError(f"the input has a column {TRUTH!r}, which evaluation adds; rename it")
    for name in protocol.columns():
        if name not in names:
            raise UserError(f"protocol.by={name}: the input has no such column; there are evidence and {names}")


def _values(reader: Reader, task: Task, rejected: BinaryIO) -> tuple[Counter[tuple[str, ...]], Counter[str], int]:
    """Count the rows of each label, the rows without one by reason, and the rows that cannot be read."""
    values, unused, failed, place, current = Counter[tuple[str, ...]](), Counter[str](), 0, SplitStart(0), ""
    for split in _progress(reader.plan, "labels"):
        if split.file != current:
            current, place = split.file, SplitStart(reader.source.first_line(split.file))
        reading = SplitRows(reader.read(split))
        for record in reading:
            if isinstance(record, Rejection):
                failed += 1
                rejected.write(json_line(place.locate(rejection_to_json(record))))
            elif isinstance(found := task.values(record), Unused):
                unused[str(found)] += 1
            else:
                values[found] += 1
        place.advance(reading.tally.lines, reading.tally.records)
        unused.update({f"no row: {reason}": count for reason, count in reading.tally.without_row.items()})
        if len(values) > MOST_VALUES and len({one for several in values for one in several}) > MOST_VALUES // 10:
            raise UserError(
                f"column {task.column!r} has over {MOST_VALUES:,} distinct values; is it the label? Name it: "
                "task.column="
            )
    return values, unused, failed


def _parts(
    reader: Reader, task: Task, protocol: Protocol, classes: Classes
) -> tuple[npt.NDArray[np.int64], dict[str, int], dict[str, dict[str, int]]]:
    """Returns the labelled rows before each split, the sampled rows of each part, and those of each class in it."""
    rows = dict.fromkeys(protocol.parts, 0)
    parts = {part: dict.fromkeys(classes.labels, 0) for part in rows}
    first, number = np.zeros(len(reader.plan), np.int64), 0
    for split in _progress(reader.plan, "parts"):
        first[split.number] = number
        for statement, target in with_targets(reader, task, classes, split):
            if protocol.drawn(number):
                part = protocol.part(statement, number)
                rows[part] += 1
                for one in class_numbers(target):
                    parts[part][classes.labels[one]] += 1
            number += 1
    return first, rows, parts


def _check_parts(protocol: Protocol, rows: Mapping[str, int], parts: Mapping[str, Mapping[str, int]]) -> None:
    for part, count in rows.items():
        if not count:
            raise UserError(
                f"the {part} part has no rows of {sum(rows.values()):,} ({protocol.name}): give more rows, other "
                "shares (protocol.validation=, protocol.test=) or another protocol.by="
            )
    learned = parts.get(TRAIN, {})
    # Statements without labels, of one class, are learned from without telling classes apart.
    if len(learned) > 1 and len(present := [label for label, count in learned.items() if count]) < 2:
        raise UserError(
            f"the training part has no class but {present[0]!r} ({protocol.name}): give more rows, or another "
            "protocol.by="
        )


def _warnings(classes: Classes, parts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for part, counts in parts.items():
        if absent := [label for label, count in counts.items() if not count]:
            learned = "it cannot be learned" if part == TRAIN else "figures over all classes count it as 0"
            yield f"the {part} part has no row of {', '.join(absent)}: {learned}"
    if few := [label for label, count in parts.get(TEST, {}).items() if 0 < count < 10]:
        yield f"the test part has fewer than 10 rows of {', '.join(few)}: their figures say little"


def _progress(plan: Plan, what: str) -> Iterator[Split]:
    splits = (plan[number] for number in range(len(plan)))
    return iter(tqdm(splits, what, len(plan), unit=" splits", leave=False, disable=None))
