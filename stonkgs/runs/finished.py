"""run.json: a run that is over, and what has come of it."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from stonkgs.runs.account import Account
from stonkgs.runs.record import Record

#: How run.json says that a run of ours wrote it.
FORMAT: Final = "stonkgs-run-2"
#: What predictions may be called: the folder of parts, or the file that they are joined to.
_PREDICTIONS: Final = re.compile(r"parts|predictions\.[\w.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that is over."""

    record: Record
    #: the id of its plan
    plan: str
    #: when, in UTC
    finished: str
    splits: int
    account: Account
    #: the name of the predictions in the run's folder; None where every row was rejected
    predictions: str | None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, those of the record beside the others."""
        told = {"plan": self.plan, "finished": self.finished, "splits": self.splits}
        result = {"result": self.account.as_result(), "predictions": self.predictions}
        return {"format": FORMAT, **self.record.to_json(), **told, **result}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What `to_json` has told; ValueError where it is something else."""
        name = values.get("predictions")
        if name is not None and not (type(name) is str and _PREDICTIONS.fullmatch(name)):
            raise ValueError(f"{name!r} is no name of predictions")
        record = Record.from_json(values)
        try:
            kinds = [type(values[key]) for key in ("plan", "finished", "splits")]
            if kinds != [str, str, int]:
                raise TypeError("of other types")
            account = Account.of(values["result"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("is no record of this version") from error
        told = {key: values[key] for key in ("plan", "finished", "splits")}
        return cls(record=record, account=account, predictions=name, **told)


def read_finished(path: Path) -> Finished | None:
    """What a run.json says; None where there is none, or another program's. Raises ValueError where it is damaged."""
    values = read_ours(path, (FORMAT,))
    return Finished.from_json(values) if values else None


def read_ours(path: Path, formats: Collection[str]) -> dict[str, Any]:
    """A JSON file that names one of these formats; empty where there is none, or another's."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and values.get("format") in formats else {}
