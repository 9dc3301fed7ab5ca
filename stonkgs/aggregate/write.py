"""Writing statements: in the formats of predictions, whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.aggregate.predictions import KINDS, Predictions
from stonkgs.disk import publish
from stonkgs.errors import UserError
from stonkgs.tables.lines import json_lines, tsv_header, tsv_lines
from stonkgs.tables.types import is_text

Write = Callable[[pa.Table], None]


def check_output(output: Path, predictions: Predictions, *, overwrite: bool) -> None:
    """UserError where the output is of no format, would replace what it must not, or has a name that cannot be."""
    try:
        _check(output, predictions, overwrite=overwrite)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from error


def _check(output: Path, predictions: Predictions, *, overwrite: bool) -> None:
    if output.suffix.removeprefix(".") not in KINDS:
        raise UserError(f"{output}: must end in {', '.join(f'.{kind}' for kind in KINDS)}, which says its format")
    if output.is_dir():
        raise UserError(f"{output}: is a folder; name a file in it, for example '{output / 'statements.parquet'}'")
    if output.parent.exists() and predictions.path.is_dir() and output.parent.samefile(predictions.path):
        raise UserError(f"{output}: is among the parts, whose readers would take it for one; name another output")
    if output.exists() and any(output.samefile(file) for file in predictions.files):
        raise UserError(f"{output}: is what is read; name another output")
    if output.exists() and not overwrite:
        raise _taken(output)


@contextmanager
def opened(output: Path, schema: pa.Schema, *, overwrite: bool) -> Iterator[Write]:
    """Writes table after table; the file gets its name at the end. UserError where it then exists."""
    try:
        with publish(output, replace=overwrite) as file, _writing(output.suffix, schema, file) as write:
            yield write
    except FileExistsError as error:
        raise _taken(output) from error


@contextmanager
def _writing(suffix: str, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
    if suffix == ".parquet":
        texts = [field.name for field in schema if is_text(field.type)]  # numbers hardly ever come again
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as parquet:
            yield parquet.write_table
    elif suffix == ".tsv":
        file.write(tsv_header(schema))
        yield lambda table: file.writelines(tsv_lines(table))
    else:
        yield lambda table: file.writelines(json_lines(table))


def _taken(output: Path) -> UserError:
    return UserError(f"{output}: exists; name another output, or replace it with --overwrite")
