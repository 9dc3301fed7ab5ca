"""Maps the values of a label column to the classes of a downstream task."""

import copy
import difflib
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from stonkgs.config import Stage
from stonkgs.config.values import Count, check
from stonkgs.errors import UserError
from stonkgs.source.fields import split_values, text_of
from stonkgs.statement import Statement

#: In place of a list of classes: the classes are the values that occur often enough.
DISCOVER = "discover"
#: More discovered classes than this are an error: the column probably holds identifiers or text.
MOST_CLASSES = 1000

#: Shortens values of a file for a message: they may be many, long and contain any character.
_shown = reprlib.Repr()
_shown.maxlist, _shown.maxstring, _shown.maxother = 20, 80, 80


class Unused(StrEnum):
    """The reasons why a row has no value to learn from."""

    UNLABELLED = "unlabelled"
    FILTERED = "filtered"
    IGNORED = "ignored"
    #: a pre-training leaves it out: see `stonkgs.graph.leave_out`
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Classes:
    """The classes of a task, decided once from all rows."""

    #: in the order of the logits
    labels: tuple[str, ...]
    multi_label: bool
    #: rows of each class; a row of several classes counts for each
    counts: dict[str, int]
    #: rows of each value that is too rare to be a class, the most frequent first
    left_out: dict[str, int] = field(default_factory=dict)
    #: unused rows, which have several values in a task that is not multi-label
    ambiguous: int = 0

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    def target(self, values: tuple[str, ...]) -> int | tuple[int, ...] | None:
        """Returns the number of a row's class, or with multi_label those of its classes in rising order.

        `values` are the distinct values that `Task.values` returns. Returns None if the row is not used: none of its
        values is a class, or it has several values and the task is not multi-label.
        """
        if not self.multi_label:
            return self._numbers.get(values[0]) if len(values) == 1 else None
        return tuple(sorted(self._numbers[value] for value in values if value in self._numbers)) or None


class Task(Stage):
    """A label column of the input, and the classes that its values stand for.

    `map` replaces values, once: the result is not looked up again. `ignore` drops values, by their name before or
    after that. Names that are no text become text as in JSON: 10090 is "10090", true is "true".
    """

    def __init__(
        self,
        *,
        name: str,
        column: str | None = None,
        classes: Sequence[str] | str = DISCOVER,
        map: Mapping[str, str] | None = None,  # noqa: A002  # the yaml's word
        ignore: Sequence[str] | None = None,
        min_count: int = 2,
        where: Mapping[str, str | Sequence[str]] | None = None,
        multi_label: bool = False,
    ) -> None:
        self.name = _name("task.name", name)
        self.column = _column("task.column", self.name if column is None else column)
        #: the class names in the order of the logits; None: the values that are frequent enough
        self.classes = _classes(classes)
        self.map = {_name("task.map", value): _name("task.map", to) for value, to in _table("task.map", map).items()}
        self.ignore = frozenset(_names("task.ignore", [] if ignore is None else ignore))
        check("task.min_count", min_count, Count)  # `checked` would refuse names that are numbers
        check("task.multi_label", multi_label, bool)
        self.min_count = min_count
        self.where = {
            _column("task.where", key): frozenset(_names(f"task.where.{key}", value, one=True))
            for key, value in _table("task.where", where).items()
        }
        self.multi_label = multi_label
        #: values of fewer rows need not be among the listed classes: they are left out
        self.too_rare = 0
        self._check_meanings()

    def _check_meanings(self) -> None:
        """Raises UserError if a class is also ignored, or a value is mapped to something that is no class."""
        if both := sorted(self.ignore.intersection(self.classes or ())):
            raise UserError(f"task.ignore: {both[0]!r} is also one of task.classes; take it out of one of them")
        for value, to in self.map.items():
            if self.classes and to not in self.ignore.union(self.classes):
                known = f"classes: {_shown.repr(list(self.classes))}{_suggestion(to, self.classes)}"
                raise UserError(
                    f"task.map: {value!r} is mapped to {to!r}, which is neither a class nor ignored; {known}"
                )

    def check(self, names: Sequence[str]) -> None:
        """Raises UserError if the input, which has the columns `names`, lacks one that this task reads."""
        for name in (self.column, *self.where):
            if name not in names:
                key = "task.column=" if name == self.column else "task.where"
                known = f"there are {_shown.repr(list(names))}{_suggestion(name, names)}"
                raise UserError(f"task {self.name!r}: no column {name!r}; {known}. Name yours with {key}")

    def values(self, statement: Statement) -> tuple[str, ...] | Unused:
        """Returns the row's distinct values, mapped, sorted, without ignored ones; or the reason why it has none.

        Raises KeyError if the statement lacks a column, which `check` rules out.
        """
        for column, wanted in self.where.items():
            if wanted.isdisjoint(split_values(statement.extra[column])):
                return Unused.FILTERED
        found = split_values(statement.extra[self.column])
        if not found:
            return Unused.UNLABELLED
        kept = {self.map.get(value, value) for value in found if value not in self.ignore} - self.ignore
        return tuple(sorted(kept)) or Unused.IGNORED

    def decide(self, counts: Mapping[tuple[str, ...], int]) -> Classes:
        """Decide the classes. `counts` has the number of rows for each tuple that `values` has returned.

        Raises UserError if there are fewer than two classes, one has too few rows, or a value is no class.
        """
        rows, occurring = Counter[str](), Counter[str]()
        for values, count in counts.items():
            occurring.update(dict.fromkeys(values, count))
            if self.multi_label or len(values) == 1:
                rows.update(dict.fromkeys(values, count))
        ambiguous = 0 if self.multi_label else sum(count for values, count in counts.items() if len(values) > 1)
        if not occurring:
            why = f"the column {self.column!r} is empty or ignored in all, or task.where leaves them out"
            raise UserError(f"task {self.name!r}: no row has a class: {why}; is task.column right?")
        labels = self._discovered(rows, ambiguous) if self.classes is None else self._given(rows, occurring)
        kept = {label: rows.pop(label, 0) for label in labels}
        return Classes(labels, self.multi_label, kept, dict(rows.most_common()), ambiguous)

    def known(self, counts: Mapping[tuple[str, ...], int], labels: tuple[str, ...]) -> Classes:
        """Returns the classes of a finished model, `labels`, however few rows they have here.

        Where classes are discovered, values that are too rare for that are left out, as the training has left them out.
        Raises UserError if another value is none of them.
        """
        known = copy.copy(self)
        known.classes, known.min_count = labels, 0
        known.too_rare = self.min_count if self.classes is None else 0
        return known.decide(counts)

    def _discovered(self, rows: Counter[str], ambiguous: int) -> tuple[str, ...]:
        """Returns the values that have enough rows, sorted. Raises UserError if they are fewer than 2, or too many."""
        labels = sorted(value for value, count in rows.items() if count >= self.min_count)
        where, enough = f"task {self.name!r}: column {self.column!r}", f"of {_rows(self.min_count)} or more"
        if len(labels) > MOST_CLASSES:
            advice = "is this the right column? If it is, raise task.min_count or list task.classes"
            raise UserError(f"{where} has {len(labels):,} values {enough}; {advice}")
        if len(labels) < 2:
            found = f"only one value, {_shown.repr(labels[0])}," if labels else "no value"
            several = f" ({_rows(ambiguous)} of several count only with task.multi_label=true)" if ambiguous else ""
            advice = "a task needs two classes: lower task.min_count or name another task.column"
            raise UserError(f"{where} has {found} {enough}{several}; {advice}")
        return tuple(_name(f"{where}: a value cannot be a class; map it with task.map", label) for label in labels)

    def _given(self, rows: Counter[str], occurring: Counter[str]) -> tuple[str, ...]:
        """Returns the classes as listed. Raises UserError if a value is none of them, or one has too few rows."""
        assert self.classes is not None
        strange = [item for item in occurring.most_common() if item[0] not in self.classes]
        if unknown := [item for item in strange if rows[item[0]] >= self.too_rare]:
            listed = _listed([f"{_shown.repr(value)} ({_rows(count)})" for value, count in unknown])
            advice = f"add them to task.classes {_shown.repr(list(self.classes))}, task.map or task.ignore"
            raise UserError(f"task {self.name!r}: column {self.column!r} has values of no class: {listed}; {advice}")
        least = self.min_count and max(2, self.min_count)
        if few := [f"class {label!r} has {_rows(rows[label])}" for label in self.classes if rows[label] < least]:
            advice = "take it out of task.classes, or map other values to it with task.map"
            raise UserError(f"task {self.name!r}: {_listed(few)}, but a class needs {least} or more; {advice}")
        return self.classes


def _column(where: str, value: Any) -> str:
    """Returns the name of a column. Its blanks are kept, because a header may have them. Raises UserError."""
    if value is None or value == "" or isinstance(value, Mapping | list | tuple):
        raise UserError(f"{where}: {_shown.repr(value)} is no name of a column")
    return text_of(value)


def _name(where: str, value: Any) -> str:
    """Returns the name of a class or a value. Raises UserError if it cannot be one."""
    name = "" if value is None or isinstance(value, Mapping | list | tuple) else text_of(value).strip()
    if not name or any(letter in name for letter in "|\t\n\r"):
        raise UserError(f"{where}: {_shown.repr(value)} is no name; a name is a text without '|', tab or newline")
    return name


def _names(where: str, values: Any, *, one: bool = False) -> tuple[str, ...]:
    if one and not isinstance(values, Mapping | list | tuple):
        return (_name(where, values),)
    if not isinstance(values, list | tuple):
        raise UserError(f"{where}={_shown.repr(values)}: must be a list, such as [a, b]")
    return tuple(_name(where, value) for value in values)


def _classes(classes: Any) -> tuple[str, ...] | None:
    if classes == DISCOVER:
        return None
    names = _names("task.classes", classes) if isinstance(classes, list | tuple) else ()
    if len(set(names)) < max(2, len(names)):
        raise UserError(
            f"task.classes={_shown.repr(classes)}: must be a list of two distinct names or more, or {DISCOVER}"
        )
    return names


def _table(where: str, table: Any) -> Mapping[Any, Any]:
    if not isinstance(table, Mapping | None):
        raise UserError(f"{where}={_shown.repr(table)}: must be a table, such as {{a: b}}")
    return table or {}


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5:,} more" if len(items) > 5 else "")


def _suggestion(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _rows(count: int) -> str:
    return f"{count or 'no'} row{'s' * (count > 1)}"
