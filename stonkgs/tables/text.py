"""The base of text formats: rows are lines, so files are joined as bytes and read in blocks."""

import shutil
from abc import abstractmethod
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from stonkgs.errors import UserError
from stonkgs.tables.format import Format, Write
from stonkgs.tables.values import check_writable

#: Bytes decoded at a time.
BLOCK = 4 << 20
#: The most bytes in a row. Without a limit an unclosed quote would read the rest of the file into memory.
LONGEST = 64 << 20


class TextFormat(Format):
    """A format whose rows are lines of text. A subclass defines `lines`, and `header` where files have one."""

    @abstractmethod
    def lines(self, table: pa.Table) -> Iterator[bytes]:
        """Yields each row as a line, with its newline."""

    def check(self, schema: pa.Schema) -> None:
        """Raises UserError for a column that `plain_values` cannot convert without loss."""
        check_writable(schema)

    @contextmanager
    def writing(self, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
        """Write the header, then the lines of each table."""
        file.write(self.header(schema))
        yield lambda table: file.writelines(self.lines(table))

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Copy the bytes of all parts behind one header."""
        header = self.header(schema)
        file.write(header)
        for part in parts:
            with open(part, "rb") as rows:
                rows.seek(len(header))
                shutil.copyfileobj(rows, file, 1 << 20)


def blocks(file: Path, *, quoted: bool = False) -> Iterator[bytes]:
    """Yields a text file in pieces of whole rows. With `quoted`, a newline inside quotes does not end a row.

    Raises UserError where a row has more than LONGEST bytes.
    """
    rest = b""
    with open(file, "rb") as stream:
        if stream.read(len(BOM_UTF8)) != BOM_UTF8:
            stream.seek(0)
        while data := stream.read(BLOCK):
            data = rest + data
            end = _last_end(data, quoted)
            if end:
                yield data[:end]
            rest = data[end:]
            if len(rest) > LONGEST:
                raise UserError(f"{file}: a row has more than {LONGEST >> 20} MB; is a quote not closed?")
    if rest:
        yield rest


def _last_end(data: bytes, quoted: bool) -> int:
    """Returns the offset past the last row that ends in `data`, 0 where none does. `data` begins with a row.

    A newline is inside a quoted field if the number of quotes before it is odd: a quote within a field is doubled.
    """
    end = data.rfind(b"\n") + 1
    if not quoted:
        return end
    inside = data.count(b'"', 0, end) % 2
    while inside and end:
        before = data.rfind(b"\n", 0, end - 1) + 1
        inside ^= data.count(b'"', before, end) % 2
        end = before
    return end
