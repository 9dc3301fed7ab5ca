"""The folder of a training: what it is, what it can go on from, and what is not ours to touch."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from stonkgs.disk import make_folder, publish
from stonkgs.errors import UserError
from stonkgs.runs.finished import read_own_json
from stonkgs.runs.folder import SUCCESS
from stonkgs.runs.record import RunRecord
from stonkgs.train.census import Census
from stonkgs.train.summary import Trained

#: How run.json says that a training of ours wrote it.
FORMAT: Final = "stonkgs-training-1"
#: How training.json says so, and how earlier versions said so.
BEGUN: Final = "stonkgs-training-2"
OLDER: Final = ("stonkgs-training-1",)
#: All that a training leaves. `rated-*` and what is called `*.tmp-*` is gone when it is through.
OURS: Final = (
    "training.json",
    "run.json",
    "metrics.json",
    "rejected.jsonl",
    "history.csv",
    "test_predictions.parquet",
    "vocab.txt",
    SUCCESS,
)
OUR_FOLDERS: Final = ("checkpoints", "logs", "model", "plots")
#: What may be done where another training is in the way.
REMEDY: Final = "Go on with the same, choose another output_dir=, or start anew: overwrite=true"


@dataclass(frozen=True, slots=True)
class Begun:
    """A training that is under way."""

    census: Census


class TrainFolder:
    """An `output_dir` of train. `training.json` is written when the rows are counted, `_SUCCESS` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = path / "training.json"
        self.record = path / "run.json"
        self.metrics = path / "metrics.json"
        self.rejected = path / "rejected.jsonl"
        #: the same until the rows are counted
        self.counted = path / "rejected.jsonl.tmp-counted"
        self.history = path / "history.csv"
        self.predictions = path / "test_predictions.parquet"
        self.success = path / SUCCESS
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.plots = path / "plots"

    def state(self, record: RunRecord, *, overwrite: bool) -> Begun | Trained | None:
        """The training that is under way or finished here; None where there is none, or it shall not count.

        Raises UserError that says what differs where it is another one than `record` describes, or where the folder
        holds what no training of ours wrote.
        """
        if not self.path.exists() or (self.path.is_dir() and all(map(_unpublished, self.path.iterdir()))):
            return None
        if not (kept := read_own_json(self.begun, (BEGUN, *OLDER))):
            raise UserError(f"{self.path}: holds something that no training has written; choose another output_dir=")
        if overwrite:
            return None
        if self.success.exists():
            return self._finished(record)
        try:
            if kept["format"] in OLDER:
                raise ValueError("of another version")
            before, census = RunRecord.from_json(kept["record"]), Census.from_json(kept["census"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{self.begun}: its training was begun by another version and is not continued; choose another "
                "output_dir=, or start anew: overwrite=true"
            ) from error
        if found := before.identity.differences(record.identity):
            raise UserError(
                f"{self.path}: holds a training that is not finished, and of other settings: {found}. {REMEDY}"
            )
        return Begun(census)

    def _finished(self, record: RunRecord) -> Trained:
        try:
            trained = Trained.from_json(read_own_json(self.record, (FORMAT,)), self.path)
        except ValueError as error:
            raise UserError(f"{self.record}: {error}; choose another output_dir=, or overwrite=true") from error
        if found := trained.record.identity.differences(record.identity):
            raise UserError(f"{self.path}: holds a finished training of other settings: {found}. {REMEDY}")
        return trained

    @contextmanager
    def counting(self, *, overwrite: bool) -> Iterator[BinaryIO]:
        """Make the folder, without what an earlier training has left; what is written goes to rejected.jsonl."""
        make_folder(self.path)
        if overwrite:
            self._clear()
        with publish(self.counted) as file:
            yield file

    def begin(self, record: RunRecord, census: Census) -> None:
        """Write training.json: from here on the same command goes on with it."""
        self.write(self.begun, {"format": BEGUN, "record": record.to_json(), "census": census.to_json()})
        self.settle()

    def settle(self) -> None:
        """Give the rejected rows their name, if there are any; again, where a process died on the way."""
        with suppress(FileNotFoundError):  # done before, or by another process of this training
            if self.counted.stat().st_size:
                self.counted.replace(self.rejected)
            else:
                self.counted.unlink()

    def write(self, path: Path, values: Mapping[str, Any]) -> None:
        """A JSON file, whole or not at all."""
        with publish(path) as file:
            file.write(json.dumps(values, indent=2, default=str).encode() + b"\n")

    def finish(self, trained: Trained) -> None:
        """Take the last steps: write run.json and `_SUCCESS`, and remove the checkpoints."""
        self._clear_unpublished()
        self.write(self.record, {"format": FORMAT, **trained.to_json()})
        with publish(self.success):
            pass
        self.tidy()

    def tidy(self) -> None:
        """Remove what a finished training does not need any more."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _clear(self) -> None:
        self.success.unlink(missing_ok=True)
        for name in OURS:
            if name != self.begun.name:  # by which the folder is ours, until the rows are counted and it is replaced
                (self.path / name).unlink(missing_ok=True)
        self._clear_unpublished()
        for folder in [*(self.path / name for name in OUR_FOLDERS), *self.path.glob("rated-*")]:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear_unpublished(self) -> None:
        """What was being written when a process was killed."""
        for path in [path for path in self.path.iterdir() if _unpublished(path)]:
            path.unlink(missing_ok=True)


def _unpublished(path: Path) -> bool:
    name, cut, _ = path.name.partition(".tmp-")
    return bool(cut) and name in OURS
