"""Counts the rows of a split or a run: each row that was read is predicted, or rejected with a place and a reason."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Self

from stonkgs.errors import UserError
from stonkgs.runs.stamp import Stamp, Stamped
from stonkgs.statement import Rejection


@dataclass(slots=True)
class Account:
    """The counts of a split or of a run; read = predicted + rejected.

    In formats where one record may give several rows or none, `records` counts the records, and `without_row` counts
    why some gave no row.
    """

    predicted: int = 0
    rejected: int = 0
    #: how the sources and targets of the predicted rows were found in the store
    nodes_exact: int = 0
    nodes_identifier: int = 0
    nodes_unknown: int = 0
    #: predicted rows whose relation is not in the store; None where the model reads no relation
    relations_unknown: int | None = None
    #: texts that were cut because the model reads fewer tokens
    texts_truncated: int = 0
    #: class -> predicted rows
    classes: dict[str, int] = field(default_factory=dict)
    #: reason why a valid record, or a part of one, gave no row -> how often
    without_row: dict[str, int] = field(default_factory=dict)
    #: reason why a value in a sound row became null -> how often
    made_null: dict[str, int] = field(default_factory=dict)
    #: None where each record is a row
    records: int | None = None
    #: lines of the split; None where the format has no lines
    lines: int | None = None

    @property
    def read(self) -> int:
        """Returns the number of rows that were read."""
        return self.predicted + self.rejected

    def write(self, rejected: BinaryIO | None, rows: Stamp, file: BinaryIO) -> None:
        """Writes the account of a split: a line of counts, with the stamp of the split's rows; a line for each rejected
        row, whose number counts from the split; and last the SHA-256 of these lines.

        `rejected` holds the lines of rejected rows, from its start on.
        """
        stamped = Stamped(file)
        stamped.write(json_line({**asdict(self), "rows": asdict(rows)}))
        if rejected:
            rejected.seek(0)
            shutil.copyfileobj(rejected, stamped, 1 << 20)
        file.write(json_line({"sha256": stamped.stamp.sha256}))

    @classmethod
    def join(cls, accounts: Iterable[tuple[int, Path]], first_lines: Sequence[int], file: BinaryIO) -> Self:
        """Sums up the accounts of all splits, and writes their rejected rows to `file` in the input's order.

        `accounts` are pairs of an input file's number and the path of a split's account. The rejected rows are written
        with their places in the input file, where `first_lines` is the number of each file's first line.
        """
        total, start, current = cls(), SplitStart(0), None
        for number, path in accounts:
            if number != current:
                current, start = number, SplitStart(first_lines[number])
            with open(path, "rb") as part, explain_damage(path):
                counts = json.loads(part.readline())
                for row, _ in pairwise(part):  # the last line is no row
                    file.write(json_line(start.locate(json.loads(row))))
            start.advance(counts["lines"], counts["records"])
            total.add(counts)
        return total

    @classmethod
    def from_result(cls, result: Any) -> Self:
        """Reads what `as_result` returned. Raises TypeError where it is something else."""
        if not isinstance(result, Mapping):
            raise TypeError("no counts")
        known = {key.name: result[key.name] for key in fields(cls) if key.name in result}
        if wrong := [name for name, value in known.items() if not _is_count(name, value)]:
            raise TypeError(f"{wrong[0]} is no count")
        return cls(**known)

    def as_result(self) -> dict[str, Any]:
        """Returns the counts as run.json holds them: without those of relations or nulls where there are none."""
        left_out = {"lines", *(() if self.made_null else ("made_null",))}
        left_out |= {"relations_unknown"} if self.relations_unknown is None else set()
        return {"read": self.read} | {key: value for key, value in asdict(self).items() if key not in left_out}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Adds the counts of another split, as `write` wrote them."""
        for key in fields(self):
            value, mine = counts.get(key.name), getattr(self, key.name)
            if isinstance(value, dict):
                for name, count in value.items():
                    mine[name] = mine.get(name, 0) + count
            elif key.name != "lines" and value is not None:
                setattr(self, key.name, (mine or 0) + value)


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn what comes of reading a damaged account into a UserError with the remedy."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: the account of a split is damaged; remove this file, and the same command does the split again "
            "and keeps the others"
        ) from error


def _is_count(name: str, value: Any) -> bool:
    """Returns whether a value has the type that `Account.as_result` gives to this field."""
    if name in ("classes", "without_row", "made_null"):
        return type(value) is dict and all(type(count) is int for count in value.values())
    return type(value) is int or (value is None and name in ("records", "relations_unknown"))


def stamp_of_rows(account: Path) -> Stamp | None:
    """Returns the stamp of a split's rows from its account; None where the account is not as it was written."""
    try:
        with open(account, "rb") as file:
            first, digest, last = file.readline(), hashlib.sha256(), b""
            for line in chain([first], file):
                digest.update(last)
                last = line
        if last != json_line({"sha256": digest.hexdigest()}):
            return None
        return Stamp.from_json(json.loads(first)["rows"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


@dataclass(slots=True)
class SplitStart:
    """Where a split starts in its file: its first line and its first item. Advance it over one split after another."""

    line: int
    index: int = 0

    def locate(self, rejected: dict[str, Any]) -> dict[str, Any]:
        """Returns a rejected row of the split, from `rejection_to_json`, with its place in the whole file."""
        first = {"line": self.line, "index": self.index}
        return rejected | {key: rejected[key] + start for key, start in first.items() if rejected[key] is not None}

    def advance(self, lines: int | None, records: int | None) -> None:
        """Moves on to the next split."""
        self.line += lines or 0
        self.index += records or 0


def rejection_to_json(rejection: Rejection) -> dict[str, Any]:
    """Returns a rejected row as rejected.jsonl holds it; bytes that are not UTF-8 become backslash escapes."""
    values = asdict(rejection)
    values["raw"] = rejection.raw.decode("utf-8", "backslashreplace")
    return values


def json_line(values: dict[str, Any]) -> bytes:
    """Returns a line of JSON Lines in UTF-8."""
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"
