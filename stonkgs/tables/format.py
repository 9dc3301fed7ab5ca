"""The contract of a file format: it writes Arrow tables to a file, and reads such a file back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, ClassVar

import pyarrow as pa

from stonkgs.errors import UserError

#: A function that adds a table to an open file.
Write = Callable[[pa.Table], None]


class Format(ABC):
    """A file format. A subclass has an `extension`, and defines `writing`, `schema` and `batches`.

    A format holds no state, and reads and writes files of any size at constant memory. Reading a damaged file raises
    OSError, ValueError or an error of Arrow's; `stonkgs.tables.damage.reading` turns these into a UserError.
    """

    #: the ending of a file's name, without the dot
    extension: ClassVar[str]

    def check(self, schema: pa.Schema) -> None:
        """Raises UserError where the format cannot hold a column. Called before any row is computed."""
        return

    def header(self, schema: pa.Schema) -> bytes:
        """Returns the bytes that a file begins with, before its rows."""
        return b""

    @abstractmethod
    def writing(self, schema: pa.Schema, file: BinaryIO) -> AbstractContextManager[Write]:
        """Write one file of many tables: the context yields a function that adds a table."""

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write one table as a file."""
        with self.writing(table.schema, file) as write:
            write(table)

    def made_null(self, table: pa.Table) -> int:
        """Returns how many values of a table this format has to write as null."""
        return 0

    def verify(self, file: Path, rows: int) -> None:
        """Raises OSError where a file that was just written and closed cannot be read back with so many rows."""
        return

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Write one file that has the rows of all parts, in order."""
        with self.writing(schema, file) as write:
            for part in parts:
                for batch in self.batches(part, schema):
                    write(pa.Table.from_batches([batch]).cast(schema))

    @abstractmethod
    def schema(self, files: Sequence[Path]) -> pa.Schema:
        """Returns the columns of files that belong together."""

    @abstractmethod
    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields the rows of one file: the columns that `wanted` names, in its order.

        A text format converts them to the types of `wanted`; a format that stores types yields the stored ones.
        """


def check_columns(file: Path, names: Sequence[str], wanted: pa.Schema) -> None:
    """Raises UserError where a file lacks a column that the first file of a run has."""
    if absent := [name for name in wanted.names if name not in names]:
        raise UserError(
            f"{file}: has no column {absent[0]!r}, which the first part has; fetch it again, or predict again"
        )
