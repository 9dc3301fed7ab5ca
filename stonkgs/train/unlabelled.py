"""The task of pre-training: it learns from statements without labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from stonkgs.config.values import check
from stonkgs.division import FILES, LEFT_OUT, NAME, ONLY
from stonkgs.errors import UserError
from stonkgs.graph.leave_out import Choice, LeaveOut, columns_of
from stonkgs.protocol import TEST, TRAIN, Protocol
from stonkgs.source.base import Reader
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.statement import Statement
from stonkgs.train.task import Classes, Task, Unused

#: The name of the only class that rows have here.
ROW = "statements"
#: How words, nodes and pairs are masked: see `stonkgs.train.masks`.
Objective = Literal["masked", "published"]


class Pretraining(Task):
    """Learns masked words, masked nodes, and which text belongs to which graph, from all statements of the input.

    `objective` is "masked" for new models, or "published" for the first implementation's; null means the latter for its
    checkpoints and the former for others.
    """

    #: which rows are left out, because they will be tested; set before rows are counted
    choice: Choice | None = None

    def __init__(self, *, name: str = "pretraining", objective: Objective | None = None) -> None:
        check("task.objective", objective, Objective | None)
        super().__init__(name=name, column=name)
        self.objective = objective

    def leave_out(self, without: LeaveOut, reader: Reader) -> None:
        """Find out which rows are left out. Takes a pass over the input, or over the rows that will be tested."""
        self.choice = without.choice(
            columns_of(reader),
            lambda: (row for split in reader.plan for row in reader.read(split)),
            files=[watch.fingerprint for watch in reader.watched.values()],
            named=reader.source.columns,
        )

    def division(self, files: Sequence[Fingerprint]) -> dict[str, Any]:
        """Returns what a later test compares its own division with: see `stonkgs.division`."""
        record = self.choice.record if self.choice else {}
        more = {key: record[key] for key in ("where", "pairs") if record.get(key)}
        reasons = " and ".join(_left_out(record))
        learned = {
            NAME: f"pre-trained with all rows{' but ' if reasons else ''}{reasons}",
            FILES: [[file.size, file.ends] for file in files],
            **({LEFT_OUT: more} if more else {}),
        }
        if not record.get("groups"):
            return {"protocol": None, **learned}
        only = {} if record["own"] else {ONLY: record["division"][FILES]}
        return {**record["division"], **learned, **only}

    def check(self, names: Sequence[str]) -> None:
        """Does nothing: it reads no column."""

    def values(self, statement: Statement) -> tuple[str, ...] | Unused:
        """Returns ROW, or that the row is left out."""
        return (ROW,) if self.choice is None or self.choice.keeps(statement) else Unused.LEFT_OUT

    def decide(self, counts: Mapping[tuple[str, ...], int]) -> Classes:
        """Returns the one class. Raises UserError if no row is left."""
        if not counts:
            raise UserError("no row is left to pre-train with: the input is empty, or without= leaves out all of it")
        return Classes((ROW,), False, {ROW: sum(counts.values())})


def _left_out(record: Mapping[str, Any]) -> Iterator[str]:
    """Yields in words which rows a `Choice` with this record leaves out."""
    tested = f"that will be tested ({record['division'][NAME]})" if "division" in record else ""
    if record.get("groups"):
        yield f"those {tested}"
    if record.get("pairs"):
        yield "those about two nodes of a tested row" if record["groups"] else f"those about two nodes of rows {tested}"
    if columns := ", ".join(record.get("where", ())):
        yield f"those with a value of without.where ({columns})"


class TwoParts(Protocol):
    """Divides rows into training and validation part as another protocol does, whose test part is trained with.

    Which rows will be tested is for `LeaveOut` to say: the rows that it leaves out are in no part.
    """

    def __init__(self, inner: Protocol) -> None:
        self.inner = inner
        self.max_rows, self.seed, self.rows = inner.max_rows, inner.seed, 0

    @property
    def name(self) -> str:
        return f"the validation part of: {self.inner.name}"

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.inner.parts if part != TEST)

    def columns(self) -> tuple[str, ...]:
        return self.inner.columns()

    def part(self, statement: Statement, number: int) -> str:
        """Returns VALIDATION or TRAIN."""
        self.inner.rows = self.rows
        part = self.inner.part(statement, number)
        return TRAIN if part == TEST else part
