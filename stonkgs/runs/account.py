"""The account of a split or a run: every row read was predicted or rejected, and says why and where."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Self

from stonkgs.statement import Rejection


@dataclass(slots=True)
class Account:
    """Counts of a split, or of a run. read = predicted + rejected

    Where a record may give several rows or none, `records` counts them and `without_row` says what gave none.
    """

    predicted: int = 0
    rejected: int = 0
    #: sources and targets of what was predicted, by how they were found in the store
    nodes_exact: int = 0
    nodes_identifier: int = 0
    nodes_unknown: int = 0
    #: texts longer than the model reads
    texts_truncated: int = 0
    #: predicted rows of each class
    classes: dict[str, int] = field(default_factory=dict)
    #: why records, or parts of them, gave no row although they are sound -> how many
    without_row: dict[str, int] = field(default_factory=dict)
    #: None where each record is a row
    records: int | None = None
    #: lines of the split; None where the format has none
    lines: int | None = None

    @property
    def read(self) -> int:
        """Rows read."""
        return self.predicted + self.rejected

    def write(self, rejected: Sequence[Rejection], file: BinaryIO) -> None:
        """One line of counts, then one line a rejected row, its line number counted from the split's start."""
        for values in (asdict(self), *map(as_json, rejected)):
            file.write(as_line(values))

    @classmethod
    def join(cls, accounts: Iterable[tuple[int, Path]], first_lines: Sequence[int], file: BinaryIO) -> Self:
        """Write all rejected rows of (input file's number, account) pairs in order, counted through each file."""
        total, place, current = cls(), Place(0), None
        for number, path in accounts:
            if number != current:
                current, place = number, Place(first_lines[number])
            with open(path, "rb") as part:
                counts = json.loads(part.readline())
                for row in map(json.loads, part):
                    file.write(as_line(place.named(row)))
            place.pass_by(counts["lines"], counts["records"])
            total.add(counts)
        return total

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """An account that `as_result` has told; TypeError where it is something else."""
        if not isinstance(result, Mapping):
            raise TypeError("no counts")
        known = {key.name: result[key.name] for key in fields(cls) if key.name in result}
        if wrong := [name for name, value in known.items() if not _is_count(name, value)]:
            raise TypeError(f"{wrong[0]} is no count")
        return cls(**known)

    def as_result(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"read": self.read} | {key: value for key, value in asdict(self).items() if key != "lines"}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Count a split's account, as `write` left it, too."""
        for key in fields(self):
            value, mine = counts[key.name], getattr(self, key.name)
            if isinstance(value, dict):
                for name, count in value.items():
                    mine[name] = mine.get(name, 0) + count
            elif key.name != "lines" and value is not None:
                setattr(self, key.name, (mine or 0) + value)


def _is_count(name: str, value: Any) -> bool:
    """Whether a value is what `Account.as_result` tells under this name."""
    if name in ("classes", "without_row"):
        return type(value) is dict and all(type(count) is int for count in value.values())
    return type(value) is int or (value is None and name == "records")


@dataclass(slots=True)
class Place:
    """Where in a file a split starts, found by passing by those before it: its first line, and its first item."""

    line: int
    index: int = 0

    def named(self, rejected: dict[str, Any]) -> dict[str, Any]:
        """A rejected row of the split, as `as_json` gives it, with its place in the file."""
        counted = {"line": self.line, "index": self.index}
        return rejected | {key: rejected[key] + first for key, first in counted.items() if rejected[key] is not None}

    def pass_by(self, lines: int | None, records: int | None) -> None:
        """On to the next split."""
        self.line += lines or 0
        self.index += records or 0


def as_json(rejection: Rejection) -> dict[str, Any]:
    """A rejected row as rejected.jsonl holds it; bytes that are no text as backslash escapes."""
    values = asdict(rejection)
    values["raw"] = rejection.raw.decode("utf-8", "backslashreplace")
    return values


def as_line(values: dict[str, Any]) -> bytes:
    """What `as_json` gives, as a line of rejected.jsonl."""
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"
