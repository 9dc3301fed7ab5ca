"""Reads and describes run.json, the record of a finished run and its results."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from stonkgs.runs.account import Account
from stonkgs.runs.parts import JOINED, Parts
from stonkgs.runs.record import RunRecord
from stonkgs.runs.stamp import Stamp

#: `format` in a run.json of ours.
FORMAT: Final = "stonkgs-run-2"
#: The names that results may have: the folder of parts, or the files that join them.
RESULT: Final = re.compile(rf"parts|{JOINED}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A run that is over, with its results."""

    record: RunRecord
    #: the id of its plan
    plan: str
    #: time of its end, in UTC
    finished: str
    splits: int
    account: Account
    #: the name of the predictions or embeddings in the run's folder; None where every row was rejected
    predictions: str | None
    #: name of a result -> its stamp; of the folder of parts, that of all of them together; empty from earlier versions
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    #: splits whose parts were damaged before they were joined, and were done again
    done_again: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the content of run.json; the fields of the record stand beside the others."""
        return {
            "format": FORMAT,
            **self.record.to_json(),
            **{key: getattr(self, key) for key in ("plan", "finished", "splits")},
            "result": self.account.as_result(),
            "predictions": self.predictions,
            "files": {name: asdict(stamp) for name, stamp in self.stamps.items()},
            **({"done_again": self.done_again} if self.done_again else {}),
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Reads what `to_json` returned. Raises ValueError where it is something else."""
        name = values.get("predictions")
        if name is not None and not (type(name) is str and RESULT.fullmatch(name)):
            raise ValueError(f"{name!r} is no name of predictions")
        record = RunRecord.from_json(values)
        try:
            own = {key: values[key] for key in ("plan", "finished", "splits")}
            if list(map(type, own.values())) != [str, str, int]:
                raise TypeError("of other types")
            account = Account.from_result(values["result"])
            stamps = {str(key): Stamp.from_json(stamp) for key, stamp in values.get("files", {}).items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("is no record of this version") from error
        again = values.get("done_again", 0)
        again = again if type(again) is int else 0
        return cls(record=record, account=account, predictions=name, stamps=stamps, done_again=again, **own)

    @property
    def results(self) -> tuple[str, ...]:
        """The names of what all parts were joined to, or of their folder: the predictions first, then what belongs to
        them. Empty where every row was rejected.
        """
        first = (self.predictions,) if self.predictions else ()
        return (*first, *(name for name in self.stamps if RESULT.fullmatch(name) and name not in first))

    def size_problem(self, folder: Path) -> str:
        """Returns how a result in the run's folder differs in size from what was written; "" where none does.

        A file that is gone is another matter.
        """
        for name in self.results:
            stamp = self.stamps.get(name)
            if stamp is None or not (path := folder / name).exists():
                continue
            size = sum(file.stat().st_size for file in _files(path))
            if size != stamp.size:
                return _changed(path, f"had {stamp.size:,} bytes, has {size:,}")
        return ""

    def content_problem(self, folder: Path) -> str:
        """Returns which of the run's results is not what was written, by its SHA-256, and how; "" where all are.

        Reads them all. Of rejected.jsonl, which may have been removed, only what is there is compared.
        """
        for name, stamp in self.stamps.items():
            path = folder / name
            if not path.exists():
                if name in self.results:
                    return f"{path}: is gone"
                continue
            files = _files(path)
            found = Stamp.of(path) if files == [path] else Stamp.of_all(map(Stamp.of, files))
            if found.size != stamp.size:
                return _changed(path, f"had {stamp.size:,} bytes, has {found.size:,}")
            if found != stamp:
                return _changed(path, f"has as many bytes as before, and another content (SHA-256 {found.sha256[:12]})")
        return ""


def _files(path: Path) -> list[Path]:
    return Parts(path, "").kept_rows() if path.is_dir() else [path]


def _changed(path: Path, how: str) -> str:
    return f"{path}: was changed or damaged since its run has finished: it {how}"


def read_finished(path: Path) -> FinishedRun | None:
    """Reads a run.json. Returns None where there is none of ours. Raises ValueError where it is damaged."""
    values = read_own_json(path, (FORMAT,))
    return FinishedRun.from_json(values) if values else None


def read_own_json(path: Path, formats: Collection[str]) -> dict[str, Any]:
    """Reads a JSON file whose `format` is one of these. Returns an empty dict for any other file, and for none.

    Raises OSError where there is one that cannot be read: nobody knows then whose it is.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and values.get("format") in formats else {}
