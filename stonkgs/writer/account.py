"""The account of a split or a run: every record read was predicted or rejected, and says why and where."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Self

from stonkgs.statement import Rejection


@dataclass(slots=True)
class Account:
    """Counts of a split, or of a run. read = predicted + rejected"""

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
    #: lines of the split; None where the format has none
    lines: int | None = None

    @property
    def read(self) -> int:
        """Records read."""
        return self.predicted + self.rejected

    def write(self, rejected: Sequence[Rejection], file: BinaryIO) -> None:
        """One line of counts, then one line a rejected row, its line number counted from the split's start."""
        for values in (asdict(self), *map(as_json, rejected)):
            file.write(_line(values))

    @classmethod
    def join(cls, accounts: Iterable[tuple[int, Path]], first_lines: Sequence[int], file: BinaryIO) -> Self:
        """Write all rejected rows of (input file's number, account) pairs in order, lines counted through each file."""
        total, before, current = cls(), 0, None
        for number, path in accounts:
            if number != current:
                current, before = number, first_lines[number]
            with open(path, "rb") as part:
                counts = json.loads(part.readline())
                for row in map(json.loads, part):
                    if row["line"] is not None:
                        row["line"] += before
                    file.write(_line(row))
            before += counts["lines"] or 0
            total.add(counts)
        return total

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """An account that `as_result` has told."""
        return cls(**{key.name: result[key.name] for key in fields(cls) if key.name != "lines"})

    def as_result(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"read": self.read} | {key: value for key, value in asdict(self).items() if key != "lines"}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Count a split's account, as `write` left it, too."""
        for name, count in counts["classes"].items():
            self.classes[name] = self.classes.get(name, 0) + count
        for key in fields(self):
            if key.name not in ("classes", "lines"):
                setattr(self, key.name, getattr(self, key.name) + counts[key.name])


def as_json(rejection: Rejection) -> dict[str, Any]:
    """A rejected row as rejected.jsonl holds it; bytes that are no text as backslash escapes."""
    values = asdict(rejection)
    values["raw"] = rejection.raw.decode("utf-8", "backslashreplace")
    return values


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"
