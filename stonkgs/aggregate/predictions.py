"""Finding predictions: their files, and which of their columns hold probabilities."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stonkgs.errors import UserError
from stonkgs.runs.folder import RunFolder, read_record
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
    record = read_record(run.record)
    if path != run.path and record.get("predictions") != path.name:
        return _moved(path, classes)
    _check_finished(run, record)
    path = run.path / record["predictions"]
    try:
        prefix, labels = record["config"]["writer"]["prefix"], record["model"]["labels"]
        told = {label: prefix + label for label in labels}
        rows, splits, multi_label = record["result"]["predicted"], record["splits"], record["model"].get("multi_label")
        if not type(rows) is type(splits) is int:
            raise TypeError("no whole numbers")
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.record}: is no record of this version; predict again") from error
    if not path.exists():
        raise UserError(f"{path}: is gone, and run.json beside it tells of it; fetch it again, or predict again")
    columns = told if classes is None else {name: name for name in classes}
    return Predictions(path, _files(path, splits), columns, multi_label, rows)


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


def _check_finished(run: RunFolder, record: Mapping[str, Any]) -> None:
    if not record and not run.plan.exists():
        raise UserError(f"{run.record}: no run of `stonkgs predict` wrote it; name the file of predictions itself")
    if record and record.get("predictions") is None and not run.plan.exists():
        raise UserError(f"{run.path}: every row of its run was rejected; there is nothing to aggregate")
    if not record or not run.success.exists():
        raise UserError(f"{run.path}: its run is not finished; go on with it: give its command again")
    if not re.fullmatch(r"parts|predictions\.\w+", str(record["predictions"])):
        raise UserError(f"{run.record}: {record['predictions']!r} is no name of predictions; predict again")


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
