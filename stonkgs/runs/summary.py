"""What a run has done, as a table for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stonkgs.errors import printable
from stonkgs.runs.account import Account

#: So many reasons for what gives no row are named.
REASONS = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has done, all its processes and attempts together, and this process: `seconds` and `here`."""

    account: Account
    output_dir: Path
    #: the file or folder of the predictions; none where every row was rejected
    predictions: str | None
    seconds: float | None = None
    #: rows of this process; none where the run was finished before
    here: int | None = None

    def __str__(self) -> str:
        """A row a fact, numbers in one column."""
        account = self.account
        found = {"by name": account.nodes_exact, "by identifier": account.nodes_identifier}
        rows = [
            *self._records(),
            ("rows read", account.read, ""),
            ("predicted", account.predicted, str(self.output_dir / (self.predictions or ""))),
            ("rejected", account.rejected, str(self.output_dir / "rejected.jsonl") if account.rejected else ""),
            ("classes", None, shares(account.classes)),
            ("nodes", 2 * account.predicted, shares(found | {"unknown": account.nodes_unknown})),
            ("texts cut", account.texts_truncated, ""),
            self._rate(),
        ]
        return "\n".join(f"{name:10} {_number(value):>12}   {printable(note)}".rstrip() for name, value, note in rows)

    def _records(self) -> list[tuple[str, float | None, str]]:
        """Of an input whose records are not rows: how many there are, and why some gave none."""
        account = self.account
        if account.records is None:
            return []
        without = sorted(account.without_row.items(), key=lambda reason: (-reason[1], reason[0]))
        told = ", ".join(f"{count:,} {reason}" for reason, count in without[:REASONS])
        if len(without) > REASONS:
            told += f", {sum(count for _, count in without[REASONS:]):,} of other reasons (run.json)"
        return [("statements", account.records, ""), ("no row", sum(account.without_row.values()), told)]

    def _rate(self) -> tuple[str, float | None, str]:
        if self.here is None or self.seconds is None:
            return "finished", None, "before; nothing was done (overwrite=true starts anew)"
        some = "" if self.here == self.account.read else f", {self.here:,} rows of this process"
        return "rows/s", self.here / max(self.seconds, 1e-9), f"{self.seconds:,.1f} s{some}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def shares(counts: Mapping[str, int]) -> str:
    """`59.2% correct, 40.8% incorrect`; what there is none of is left out."""
    total = max(sum(counts.values()), 1)
    return ", ".join(f"{count / total:.1%} {name}" for name, count in counts.items() if count)
