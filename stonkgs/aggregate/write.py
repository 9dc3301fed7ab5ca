"""Writes statements in the formats of predictions. The output appears complete or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stonkgs.aggregate.predictions import Predictions, endings
from stonkgs.disk import publish
from stonkgs.errors import UserError, reason
from stonkgs.tables.format import Write
from stonkgs.tables.formats import formats


def check_output(output: Path, predictions: Predictions, *, overwrite: bool) -> None:
    """Raises UserError if the output has no known format, may not be replaced, or has an impossible name."""
    try:
        _check(output, predictions, overwrite=overwrite)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {reason(error, output)}") from error


def _check(output: Path, predictions: Predictions, *, overwrite: bool) -> None:
    if output.suffix.removeprefix(".") not in formats():
        raise UserError(f"{output}: must end in {endings()}, which says its format")
    if output.is_dir():
        raise UserError(f"{output}: is a folder; name a file in it, for example '{output / 'statements.parquet'}'")
    if output.parent.exists() and predictions.path.is_dir() and output.parent.samefile(predictions.path):
        raise UserError(f"{output}: is among the parts, whose readers would take it for one; name another output")
    if output.exists() and any(output.samefile(file) for file in predictions.files):
        raise UserError(f"{output}: is what is read; name another output")
    if output.exists() and not overwrite:
        raise _taken(output)


@contextmanager
def writing_statements(output: Path, schema: pa.Schema, *, overwrite: bool) -> Iterator[Write]:
    """Open the output and yield a function that writes a table to it. The file gets its name at the end.

    Raises UserError if another file has that name by then.
    """
    try:
        format_ = formats()[output.suffix.removeprefix(".")]
        with publish(output, replace=overwrite) as file, format_.writing(schema, file) as write:
            yield write
    except FileExistsError as error:
        raise _taken(output) from error


def _taken(output: Path) -> UserError:
    return UserError(f"{output}: exists; name another output, or replace it with --overwrite")
