"""The output folder of a training: reads what an earlier training has left in it, and writes its files."""

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
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
from stonkgs.train.checkpoints import LAST
from stonkgs.train.summary import Trained

#: The `format` of run.json.
FORMAT: Final = "stonkgs-training-1"
#: The `format` of training.json, and those of earlier versions.
BEGUN: Final = "stonkgs-training-3"
OLDER: Final = ("stonkgs-training-1", "stonkgs-training-2")
#: The files that a finished training leaves. It has removed `rated-*` and `*.tmp-*`.
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
#: The advice if the folder holds another training.
REMEDY: Final = "Go on with the same, choose another output_dir=, or start anew: overwrite=true"


@dataclass(frozen=True, slots=True)
class TrainingBegun:
    """A training that has begun and is not finished."""

    census: Census


class TrainFolder:
    """The `output_dir` of a training. It writes training.json when the rows are counted, and `_SUCCESS` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = path / "training.json"
        self.record = path / "run.json"
        self.metrics = path / "metrics.json"
        self.rejected = path / "rejected.jsonl"
        #: the name of rejected.jsonl until the rows are counted
        self.counted = path / "rejected.jsonl.tmp-counted"
        self.history = path / "history.csv"
        self.predictions = path / "test_predictions.parquet"
        self.success = path / SUCCESS
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.plots = path / "plots"

    def state(self, record: RunRecord, *, overwrite: bool) -> TrainingBegun | Trained | None:
        """Returns the training that is begun or finished here; None if there is none, or with `overwrite`.

        Raises UserError, with what differs, if it is not the training that `record` describes, or if something else
        wrote the folder.
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
        return TrainingBegun(census)

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
        """Make the folder, and yield the file for rejected rows. With `overwrite` remove an earlier training first."""
        make_folder(self.path)
        if overwrite:
            self._clear()
        with publish(self.counted) as file:
            yield file

    def begin(self, record: RunRecord, census: Census) -> None:
        """Write training.json. From then on the same command continues this training."""
        self.write(self.begun, {"format": BEGUN, "record": record.to_json(), "census": census.to_json()})
        self.settle()

    def settle(self) -> None:
        """Give the file of rejected rows its name if it has any. Called again, in case a process was killed before."""
        with suppress(FileNotFoundError):  # already done, perhaps by another process of this training
            if self.counted.stat().st_size:
                self.counted.replace(self.rejected)
            else:
                self.counted.unlink()

    def kept(self) -> str:
        """Says how to go on from what a failed training has kept; "" where it has not begun."""
        if (self.checkpoints / LAST).exists():
            return "the same command continues from the last checkpoint"
        return "the same command begins again from the counted rows" if self.begun.exists() else ""

    def write(self, path: Path, values: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        with publish(path) as file:
            file.write(json.dumps(values, indent=2, default=str).encode() + b"\n")

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv: each row is a point of the learning curves."""
        names = list(dict.fromkeys(name for row in history for name in row)) or ["step"]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        with publish(self.history) as file:
            file.write(text.getvalue().encode())

    def finish(self, trained: Trained) -> None:
        """Write run.json and then `_SUCCESS`, and remove the checkpoints."""
        self._clear_unpublished()
        self.write(self.record, {"format": FORMAT, **trained.to_json()})
        with publish(self.success):
            pass
        self.tidy()

    def remove_ratings(self) -> None:
        """Remove the folders of ratings. Each is renamed first: half of one would look like a finished, damaged run."""
        for left in self.path.glob("rated-gone-*"):  # by a process that was killed here
            shutil.rmtree(left, ignore_errors=True)
        for rating in self.path.glob("rated-*"):
            shutil.rmtree(rating.rename(self.path / f"rated-gone-{rating.name}"), ignore_errors=True)

    def tidy(self) -> None:
        """Remove the checkpoints, which a finished training does not need."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _clear(self) -> None:
        self.success.unlink(missing_ok=True)
        for name in OURS:
            if name != self.begun.name:  # it marks the folder as a training's until it is replaced
                (self.path / name).unlink(missing_ok=True)
        self._clear_unpublished()
        self.remove_ratings()
        for folder in [self.path / name for name in OUR_FOLDERS]:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear_unpublished(self) -> None:
        """Remove files that were being written when a process was killed."""
        for path in [path for path in self.path.iterdir() if _unpublished(path)]:
            path.unlink(missing_ok=True)


def _unpublished(path: Path) -> bool:
    name, cut, _ = path.name.partition(".tmp-")
    return bool(cut) and name in OURS
