"""Shows what a run has done, as a table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stonkgs.errors import printable
from stonkgs.runs.account import Account
from stonkgs.runs.identity import PREDICT

#: command -> what it has done with rows
DONE: Final[Mapping[str, str]] = {PREDICT: "predicted", "embed": "embedded"}
#: How many reasons are named why records gave no row.
REASONS = 5


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What all processes and attempts of a run have done, and what this process did of it."""

    account: Account
    output_dir: Path
    #: the file or folder of the predictions or embeddings; None where every row was rejected
    predictions: str | None
    #: seconds that this process worked, and its rows; None where the run was finished before
    seconds: float | None = None
    here: int | None = None
    #: splits whose parts were damaged before they were joined, and were done again
    done_again: int = 0
    #: input file -> bytes that were appended to it since the run began
    grown: Mapping[str, int] = field(default_factory=dict)
    #: the command whose run it is
    command: str = PREDICT

    def __str__(self) -> str:
        """Returns a line for each fact; the numbers stand in one column."""
        account = self.account
        found = {"by name": account.nodes_exact, "by identifier": account.nodes_identifier}
        rows = [
            *self._records(),
            ("rows read", account.read, ""),
            (DONE[self.command], account.predicted, str(self.output_dir / (self.predictions or ""))),
            ("rejected", account.rejected, str(self.output_dir / "rejected.jsonl") if account.rejected else ""),
            *([("classes", None, _shares(account.classes))] if self.command == PREDICT else []),
            ("nodes", 2 * account.predicted, _shares(found | {"unknown": account.nodes_unknown})),
            *self._relations(),
            ("texts cut", account.texts_truncated, ""),
            *self._nulls(),
            self._rate(),
            *self._warnings(),
        ]
        return "\n".join(f"{name:10} {_number(value):>12}   {printable(note)}".rstrip() for name, value, note in rows)

    def _records(self) -> list[tuple[str, float | None, str]]:
        """Returns the number of records and why some gave no row, for formats whose records are not rows."""
        account = self.account
        if account.records is None:
            return []
        note = _reasons(account.without_row)
        return [("statements", account.records, ""), ("no row", sum(account.without_row.values()), note)]

    def _relations(self) -> list[tuple[str, float | None, str]]:
        """Returns how many relations are in the store, where the model reads them."""
        total, unknown = self.account.predicted, self.account.relations_unknown
        return (
            [] if unknown is None else [("relations", total, _shares({"known": total - unknown, "unknown": unknown}))]
        )

    def _nulls(self) -> list[tuple[str, float | None, str]]:
        """Returns how many values became null and why, where some did."""
        nulls = self.account.made_null
        return [("made null", sum(nulls.values()), _reasons(nulls))] if nulls else []

    def _warnings(self) -> Iterator[tuple[str, float | None, str]]:
        """Yields what went on around the run, and did not change its result."""
        if self.done_again:
            yield "done again", self.done_again, "parts that were damaged after they were written"
        for path, count in self.grown.items():
            yield "has grown", count, f"bytes: {path}; what was appended since the run began is for the next run"

    def _rate(self) -> tuple[str, float | None, str]:
        if self.here is None or self.seconds is None:
            return "finished", None, "before; nothing was done (overwrite=true starts anew)"
        some = "" if self.here == self.account.read else f", {self.here:,} rows of this process"
        return "rows/s", self.here / max(self.seconds, 1e-9), f"{self.seconds:,.1f} s{some}"


def _reasons(counts: Mapping[str, int]) -> str:
    """Returns the most frequent reasons with their counts, such as `3 Complex, 1 evidence without text`."""
    ordered = sorted(counts.items(), key=lambda reason: (-reason[1], reason[0]))
    note = ", ".join(f"{count:,} {reason}" for reason, count in ordered[:REASONS])
    if len(ordered) > REASONS:
        note += f", {sum(count for _, count in ordered[REASONS:]):,} of other reasons (run.json)"
    return note


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _shares(counts: Mapping[str, int]) -> str:
    """Returns the share of each name, such as `59.2% correct, 40.8% incorrect`, without those of count 0."""
    total = max(sum(counts.values()), 1)
    return ", ".join(f"{count / total:.1%} {name}" for name, count in counts.items() if count)
