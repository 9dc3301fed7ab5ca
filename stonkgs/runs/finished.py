"""Reads and describes run.json, the record of a finished run and its results."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from stonkgs.runs.account import Account
from stonkgs.runs.record import RunRecord

#: `format` in a run.json of ours.
FORMAT: Final = "stonkgs-run-2"
#: The names that predictions may have: the folder of parts, or the file that joins them.
_PREDICTIONS: Final = re.compile(r"parts|predictions\.[\w.]+")


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
    #: the name of the predictions in the run's folder; None where every row was rejected
    predictions: str | None

    def to_json(self) -> dict[str, Any]:
        """Returns the content of run.json; the fields of the record stand beside the others."""
        return {
            "format": FORMAT,
            **self.record.to_json(),
            **{key: getattr(self, key) for key in ("plan", "finished", "splits")},
            "result": self.account.as_result(),
            "predictions": self.predictions,
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Reads what `to_json` returned. Raises ValueError where it is something else."""
        name = values.get("predictions")
        if name is not None and not (type(name) is str and _PREDICTIONS.fullmatch(name)):
            raise ValueError(f"{name!r} is no name of predictions")
        record = RunRecord.from_json(values)
        try:
            own = {key: values[key] for key in ("plan", "finished", "splits")}
            if list(map(type, own.values())) != [str, str, int]:
                raise TypeError("of other types")
            account = Account.from_result(values["result"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("is no record of this version") from error
        return cls(record=record, account=account, predictions=name, **own)


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
