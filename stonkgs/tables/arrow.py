"""Arrow's own file format (IPC), which other programs map into memory. It stores Arrow's types."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.ipc
from pyarrow import types

from stonkgs.tables.format import Format, Write, check_columns

#: Rows of a record batch at most.
ROWS = 1 << 16


class Arrow(Format):
    """Record batches, uncompressed, so that a reader copies nothing. Dictionaries are decoded.

    A file has one dictionary for all of its batches, and parts have one each.
    """

    extension = "arrow"

    @contextmanager
    def writing(self, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
        """Write a record batch for each table, or several if it is long."""
        stored = _stored(schema)
        with pa.ipc.new_file(file, stored) as arrow:
            yield lambda table: arrow.write_table(table.cast(stored).combine_chunks(), max_chunksize=ROWS)

    def verify(self, file: Path, rows: int) -> None:
        """Read the footer, without which no reader can open the file, and the sizes of all batches."""
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as arrow:
                found = sum(arrow.get_batch(number).num_rows for number in range(arrow.num_record_batches))
        except (pa.ArrowException, ValueError) as error:
            raise OSError(f"cannot be read back: {error}") from error
        if found != rows:
            raise OSError(f"{found:,} of {rows:,} rows arrived")

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns the columns of the first file."""
        with pa.OSFile(str(files[0])) as source, pa.ipc.open_file(source) as arrow:
            return arrow.schema

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields the batches of a file, each checked, because Arrow trusts what it reads."""
        # Not mapped: who reads a map of a file that is cut meanwhile is killed.
        with pa.OSFile(str(file)) as source, pa.ipc.open_file(source) as arrow:
            check_columns(file, arrow.schema.names, wanted)
            for number in range(arrow.num_record_batches):
                batch = arrow.get_batch(number)
                batch.validate(full=True)
                yield batch.select(wanted.names)


def _stored(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with plain columns for those of dictionaries."""
    return pa.schema(
        [field.with_type(field.type.value_type) if types.is_dictionary(field.type) else field for field in schema],
        schema.metadata,
    )
