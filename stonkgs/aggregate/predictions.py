"""Finds the files of predictions, and which of their columns are probabilities."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stonkgs.errors import UserError
from stonkgs.runs.finished import FinishedRun, read_finished
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.identity import PREDICT
from stonkgs.runs.parts import Parts
from stonkgs.tables.format import Format
from stonkgs.tables.formats import formats

_PART = re.compile(r"(\d{8,})\.\w+")


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of a run, in one file or in parts."""

    #: the file, or the folder of parts
    path: Path
    #: in the order of the run's input, all in the same format
    files: tuple[Path, ...]
    #: class -> its column of probabilities, in the model's order
    classes: Mapping[str, str]
    #: whether a row may have several classes; None without a run.json
    multi_label: bool | None = None
    #: number of rows; None without a run.json
    rows: int | None = None

    def state(self) -> tuple[tuple[int, int, int], ...]:
        """Returns the sizes and times of the files: they change if somebody writes to one of them."""
        stats = (file.stat() for file in self.files)
        return tuple((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)

    @property
    def format(self) -> Format:
        """The format of the files."""
        return formats()[_kind(self.files[0])]


def find(path: Path, classes: Sequence[str] | None = None) -> Predictions:
    """Returns the predictions at the absolute `path`: a file, a run's output_dir, or a folder of parts.

    The run.json beside them says which columns are probabilities; without one, `classes` names the columns. Raises
    UserError if neither does, the run is not finished, or a part is missing.
    """
    try:
        return _find(path, classes)
    except OSError as error:  # for example a name that is too long, or a folder without read permission
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _find(path: Path, classes: Sequence[str] | None) -> Predictions:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name predictions, or the output_dir of their run")
    run = RunFolder(path if _is_run(path) else path.parent, "")
    try:
        finished = read_finished(run.record)
    except ValueError as error:
        raise UserError(f"{run.record}: {error}; predict again") from error
    if path != run.path and (finished is None or finished.predictions != path.name):
        return _find_without_run(path, classes)
    name, finished = _check_finished(run, finished)
    path = run.path / name
    prefix, labels = str(finished.record.identity.values.get("writer.prefix", "")), finished.record.labels
    recorded = {label: prefix + label for label in labels}
    if not path.exists():
        raise UserError(f"{path}: is gone, and run.json beside it tells of it; fetch it again, or predict again")
    files = _files(path, finished.splits)
    if problem := finished.size_problem(run.path):
        raise UserError(f"{problem}; fetch it again, or predict again")
    columns = recorded if classes is None else {name: name for name in classes}
    return Predictions(path, files, columns, finished.record.multi_label, finished.account.predicted)


def _is_run(path: Path) -> bool:
    """Returns whether a path is the output_dir of a run."""
    run = RunFolder(path, "")
    return path.is_dir() and (run.record.exists() or run.plan.exists())


def _find_without_run(path: Path, classes: Sequence[str] | None) -> Predictions:
    """Returns predictions that have no run.json beside them."""
    if Parts(path, "").plan.exists():
        raise UserError(f"{path}: its run is not finished; go on with it: give its command again")
    files = _files(path)
    if classes is None:
        raise UserError(
            f"{path}: no run.json beside it says which columns are probabilities; name them, as --classes no,yes"
        )
    return Predictions(path, files, {name: name for name in classes})


def _check_finished(run: RunFolder, finished: FinishedRun | None) -> tuple[str, FinishedRun]:
    """Returns the file name of a finished run's predictions, and its run.json. Raises UserError if there are none."""
    if not finished and not run.plan.exists():
        raise UserError(f"{run.record}: no run of `stonkgs predict` wrote it; name the file of predictions itself")
    if finished and (command := finished.record.identity.command) != PREDICT:
        raise UserError(f"{run.path}: is of stonkgs {command}; what is aggregated are predictions (stonkgs predict)")
    if finished and finished.predictions is None and not run.plan.exists():
        raise UserError(f"{run.path}: every row of its run was rejected; there is nothing to aggregate")
    if not finished or finished.predictions is None or not run.success.exists():
        raise UserError(f"{run.path}: its run is not finished; go on with it: give its command again")
    return finished.predictions, finished


def _files(path: Path, splits: int | None = None) -> tuple[Path, ...]:
    """Returns a file, or all parts in a folder in order. Raises UserError unless there is one for each split."""
    if not path.is_dir():
        _kind(path)
        return (path,)
    parts = sorted((int(found[1]), file) for file in path.iterdir() if (found := _PART.fullmatch(file.name)))
    if not parts:
        raise UserError(f"{path}: holds no parts of predictions, such as 00000000.parquet")
    if len(kinds := {_kind(file) for _, file in parts}) > 1:
        raise UserError(f"{path}: holds parts of several kinds, {', '.join(sorted(kinds))}; leave those of one run")
    numbers = [number for number, _ in parts]
    if numbers != list(range(len(parts) if splits is None else splits)):
        raise UserError(
            f"{path}: holds {len(parts):,} parts up to {numbers[-1]:08d}, of {splits or numbers[-1] + 1:,}; "
            "fetch all of them again"
        )
    return tuple(file for _, file in parts)


def _kind(file: Path) -> str:
    """Returns a file's ending, which names its format. Raises UserError if there is no such format or file."""
    kind = file.suffix.removeprefix(".")
    if kind not in formats() or not file.is_file():
        raise UserError(f"{file}: is no file of predictions, which end in {endings()}")
    return kind


def endings() -> str:
    """Returns the endings of files of predictions, for messages."""
    return ", ".join(f".{extension}" for extension in formats())
