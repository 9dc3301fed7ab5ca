"""Finding predictions: their files, and which of their columns hold probabilities."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stonkgs.errors import UserError
from stonkgs.runs.finished import Finished, read_finished
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.parts import Parts
from stonkgs.tables.format import Format
from stonkgs.tables.formats import formats

_PART = re.compile(r"(\d{8,})\.\w+")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a run has predicted, in one file or in parts."""

    #: the file, or the folder of parts
    path: Path
    #: in the input's order, all of one kind
    files: tuple[Path, ...]
    #: class -> its column of probabilities, in the model's order
    classes: Mapping[str, str]
    #: whether a row may be of several classes; None where no run.json tells
    multi_label: bool | None = None
    #: how many there are; None where no run.json tells
    rows: int | None = None

    @property
    def format(self) -> Format:
        """How the files are read."""
        return formats()[_kind(self.files[0])]


def find(path: Path, classes: Sequence[str] | None = None) -> Predictions:
    """The predictions in a file, in a run's output_dir, or in a folder of parts; `path` is absolute.

    Columns of probabilities are told by the run.json beside them, or by `classes`, their names. Raises UserError where
    neither does, where the run is not finished, and where a part is missing.
    """
    try:
        return _find(path, classes)
    except OSError as error:  # a name that is too long, a folder of somebody else
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
        return _moved(path, classes)
    name, finished = _checked(run, finished)
    path = run.path / name
    prefix, labels = str(finished.record.identity.values.get("writer.prefix", "")), finished.record.labels
    told = {label: prefix + label for label in labels}
    if not path.exists():
        raise UserError(f"{path}: is gone, and run.json beside it tells of it; fetch it again, or predict again")
    columns = told if classes is None else {name: name for name in classes}
    return Predictions(
        path, _files(path, finished.splits), columns, finished.record.multi_label, finished.account.predicted
    )


def _is_run(path: Path) -> bool:
    """Whether a folder is an output_dir."""
    run = RunFolder(path, "")
    return path.is_dir() and (run.record.exists() or run.plan.exists())


def _moved(path: Path, classes: Sequence[str] | None) -> Predictions:
    """Predictions without their run.json."""
    if Parts(path, "").plan.exists():
        raise UserError(f"{path}: its run is not finished; go on with it: give its command again")
    files = _files(path)
    if classes is None:
        raise UserError(
            f"{path}: no run.json beside it says which columns are probabilities; name them, as --classes no,yes"
        )
    return Predictions(path, files, {name: name for name in classes})


def _checked(run: RunFolder, finished: Finished | None) -> tuple[str, Finished]:
    """The name of a finished run's predictions, and what its run.json says; UserError where it has none."""
    if not finished and not run.plan.exists():
        raise UserError(f"{run.record}: no run of `stonkgs predict` wrote it; name the file of predictions itself")
    if finished and finished.predictions is None and not run.plan.exists():
        raise UserError(f"{run.path}: every row of its run was rejected; there is nothing to aggregate")
    if not finished or finished.predictions is None or not run.success.exists():
        raise UserError(f"{run.path}: its run is not finished; go on with it: give its command again")
    return finished.predictions, finished


def _files(path: Path, splits: int | None = None) -> tuple[Path, ...]:
    """A file, or all parts in a folder by their numbers: so many as there were splits, where that is known."""
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
    kind = file.suffix.removeprefix(".")
    if kind not in formats() or not file.is_file():
        raise UserError(f"{file}: is no file of predictions, which end in {endings()}")
    return kind


def endings() -> str:
    """How files of predictions may end, in words."""
    return ", ".join(f".{extension}" for extension in formats())
