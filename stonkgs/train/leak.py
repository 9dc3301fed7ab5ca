"""Finds out whether a column that the model reads gives the class away."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from stonkgs.errors import UserError
from stonkgs.train.selection import Selection, Target
from stonkgs.train.task import Task

#: From this share on, what is left to learn from the rest of a statement is mostly noise in the labels.
MOST: Final = 0.9
#: A column of more values holds no relations, but numbers or texts.
MOST_VALUES: Final = 10_000


def check_task(reads: Mapping[str, str], task: Task) -> None:
    """Raises UserError if the model reads the task's column: see `Network.columns` for `reads`."""
    if key := reads.get(task.column):
        raise UserError(
            f"task.column={task.column}: the model reads this column ({key}=), so it would be told the answer; "
            "choose a model that does not, such as model.architecture=stonkgs"
        )


def told(selection: Selection, reads: Mapping[str, str]) -> Iterator[str]:
    """Yields a warning for each column that the model reads and that tells the class of nearly every row."""
    for column in reads:
        rows = (row for split in selection.reader.plan for row in selection.labelled(split))
        share = explained((str(row.statement.extra.get(column)), row.target) for row in rows)
        if share >= MOST:
            yield (
                f"the column {column!r}, which the model reads, tells the class: it alone explains {share:.1%} of what "
                "the most frequent class does not; such figures say nothing about texts and graphs"
            )


def explained(pairs: Iterable[tuple[str, Target]]) -> float:
    """Returns the share of errors that are mended by knowing a value, from pairs of a value and a class: 0 to 1.

    The errors are those of always answering the most frequent class; with the value known, the most frequent class of
    its rows is answered. This is Goodman and Kruskal's lambda (1954, J. Am. Stat. Assoc. 49, 732). It is 0 where there
    is but one class, or more than MOST_VALUES values.
    """
    classes, by_value = Counter[Target](), dict[str, Counter[Target]]()
    for value, target in pairs:
        classes[target] += 1
        by_value.setdefault(value, Counter())[target] += 1
        if len(by_value) > MOST_VALUES:
            return 0.0
    most = max(classes.values(), default=0)
    errors = classes.total() - most
    return (sum(max(counts.values()) for counts in by_value.values()) - most) / errors if errors else 0.0
