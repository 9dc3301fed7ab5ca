"""Writing statements: in the formats of predictions, whole or not at all."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stonkgs.aggregate.predictions import KINDS, Predictions
from stonkgs.disk import publish
from stonkgs.errors import UserError

Write = Callable[[pa.Table], None]


def check_output(output: Path, predictions: Predictions, *, overwrite: bool) -> None:
    """UserError where the output is of no format, or would replace what it must not."""
    if output.suffix.removeprefix(".") not in KINDS:
        raise UserError(f"{output}: must end in {', '.join(f'.{kind}' for kind in KINDS)}, which says its format")
    if output.is_dir():
        raise UserError(f"{output}: is a folder; name a file in it, for example '{output / 'statements.parquet'}'")
    if output.parent.exists() and predictions.path.is_dir() and output.parent.samefile(predictions.path):
        raise UserError(f"{output}: is among the parts, whose readers would take it for one; name another output")
    if output.exists() and any(output.samefile(file) for file in predictions.files):
        raise UserError(f"{output}: is what is read; name another output")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; name another output, or replace it with --overwrite")


@contextmanager
def opened(output: Path, schema: pa.Schema) -> Iterator[Write]:
    """Writes table after table; the file gets its name at the end."""
    with publish(output) as file:
        if output.suffix == ".parquet":
            with pq.ParquetWriter(file, schema, compression="zstd") as parquet:
                yield parquet.write_table
        else:
            yield _lines(output.suffix, schema, file)


def _lines(suffix: str, schema: pa.Schema, file: BinaryIO) -> Write:
    """By the writers of predictions, which Lightning's import of seconds comes with."""
    from stonkgs.writer.jsonl import JsonlWriter
    from stonkgs.writer.tsv import TsvWriter

    writer = TsvWriter() if suffix == ".tsv" else JsonlWriter()
    header = writer.header(schema)
    file.write(header)

    def write(table: pa.Table) -> None:
        rows = io.BytesIO()
        writer.write(table, rows)
        file.write(rows.getbuffer()[len(header) :])

    return write
