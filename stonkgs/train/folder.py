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
from stonkgs.runs.differences import changed, inputs
from stonkgs.runs.folder import SUCCESS, Finished, read_record
from stonkgs.train.census import Census

#: How training.json and run.json say that a training of ours wrote what lies beside them.
FORMAT: Final = "stonkgs-training-1"
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

    def state(self, record: Mapping[str, Any], *, overwrite: bool) -> Begun | Finished | None:
        """The training that is under way or finished here; None where there is none, or it shall not count.

        UserError that says what differs where it is another one than `record` describes, or where the folder holds
        what no training of ours wrote.
        """
        if not self.path.exists() or (self.path.is_dir() and all(map(_unpublished, self.path.iterdir()))):
            return None
        if not (kept := read_record(self.begun, FORMAT)):
            raise UserError(f"{self.path}: holds something that no training has written; choose another output_dir=")
        if overwrite:
            return None
        if found := "; ".join(_differing(kept["record"], record)):
            over = "a finished training" if self.success.exists() else "a training that is not finished, and"
            raise UserError(
                f"{self.path}: holds {over} of other settings: {found}. Go on with the same, choose another "
                "output_dir=, or start anew: overwrite=true"
            )
        return (
            Finished(read_record(self.record, FORMAT))
            if self.success.exists()
            else Begun(Census.from_json(kept["census"]))
        )

    @contextmanager
    def counting(self, *, overwrite: bool) -> Iterator[BinaryIO]:
        """Make the folder, without what an earlier training has left; what is written goes to rejected.jsonl."""
        make_folder(self.path)
        if overwrite:
            self._clear()
        with publish(self.counted) as file:
            yield file

    def begin(self, record: Mapping[str, Any], census: Census) -> None:
        """From here on the same command goes on with it."""
        self.write(self.begun, {"format": FORMAT, "record": record, "census": census.to_json()})
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

    def finish(self, record: Mapping[str, Any]) -> None:
        """The last steps."""
        self._clear_unpublished()
        self.write(self.record, {"format": FORMAT, **record})
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


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from inputs(before["input"], now["input"])
    yield from changed(before["deciding"], now["deciding"])
