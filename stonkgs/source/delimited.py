"""The base of TSV and CSV: a header names the columns, and each record has as many fields.

A line `sep=;` may stand above the header, as spreadsheets write and read it: it names the file's delimiter.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import ClassVar, NamedTuple

import pyarrow as pa

from stonkgs.config.values import Count
from stonkgs.errors import UserError
from stonkgs.source.base import Limit, common_schema
from stonkgs.source.file import Paths, file_errors, first_bytes, open_bytes
from stonkgs.source.split import END
from stonkgs.source.text.quoted import Quoted, cutter, delimiter_name
from stonkgs.source.text.records import Lines, RawRecord, TextSource
from stonkgs.source.text.signatures import HEAD, json_advice
from stonkgs.statement import Statement, UnusableError

#: A first line that names the delimiter, as it is or (a tab) in words; some programs quote the line.
_NAMED = re.compile(
    rb"""(?:\xef\xbb\xbf)?("?)sep=(?:(?P<mark>[\x01-\x7f](?<![\r\n"]))|(?P<tab>\\t))\1 *(?:\r?\n|\Z)""", re.IGNORECASE
)
#: Bytes in which that line fits.
_NAMED_BYTES = 32


class TableHeader(NamedTuple):
    """The first record of a file, below a line that names the delimiter."""

    names: list[str]
    #: Offset of the byte behind it.
    end: int
    #: Number of lines up to its end.
    lines: int


class DelimitedSource(TextSource):
    """Fields between delimiters. All columns are text; an empty field is an empty text, not null."""

    #: Advice for a user whose file has misplaced quotes.
    remedy: ClassVar[str]

    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None = None,
        delimiter: str = ",",
        max_record: Count = 1 << 20,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, columns=columns, max_record=max_record, limit=limit)
        self.delimiter = delimiter

    def check(self) -> None:
        """Raises UserError where a setting of the format is wrong."""
        return

    @abstractmethod
    def misfit(self, text: str, delimiter: str) -> str:
        """Returns a guess why a record has not as many fields as the header: "" or a text that begins with "; "."""

    def scan(self, file: str) -> Lines:
        """Returns a scanner of the file's fields, whose `head` is where the header starts."""
        delimiter, head = _named_delimiter(file)
        scanner = self.scanner(file, delimiter or self.delimiter)
        scanner.head = head
        return scanner

    def scanner(self, file: str, delimiter: str) -> Lines:
        """Returns a scanner of quoted fields."""
        return Quoted(file, self.max_record, delimiter, self.remedy)

    def cutter(self, scanner: Lines) -> Callable[[str], list[str]]:
        """Returns a function that splits a record into its fields."""
        return cutter(self.mark(scanner))

    def mark(self, scanner: Lines) -> str:
        """Returns the delimiter of a file: its own, or that of the source."""
        return scanner.delimiter if isinstance(scanner, Quoted) else self.delimiter

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns the columns that the header names, all of them text."""
        self.check()
        return common_schema(
            files, (pa.schema([(name, pa.string()) for name in self._header(file).names]) for file in files)
        )

    def first_line(self, file: str) -> int:
        """Returns the number of the line below the header."""
        return self._header(file).lines + 1

    def text(self, scanner: Lines) -> int:
        """Returns the offset of the byte behind the header."""
        return self._read_header(scanner).end

    def _header(self, file: str) -> TableHeader:
        with closing(self.scan(file)) as scanner:
            return self._read_header(scanner)

    def _read_header(self, scanner: Lines) -> TableHeader:
        """Returns the first record. Raises UserError where there is none or it cannot be read."""
        record, file = next(iter(scanner.records(scanner.head, END)), None), scanner.cursor.file
        if record is None:
            raise UserError(f"{file}: is empty; its first line has to give the columns' names")
        names = self._names(record, scanner)
        end = scanner.end(record.offset)
        assert end is not None
        return TableHeader(names, end, scanner.lines + (scanner.head > 0))

    def _names(self, record: RawRecord, scanner: Lines) -> list[str]:
        file = scanner.cursor.file
        if record.problem:
            advice = self._advice(file, record.raw.decode(errors="replace")) or record.problem
            raise UserError(f"{file}: the header is no record: {advice}")
        try:
            return self.cutter(scanner)(record.raw.decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: the header is not UTF-8; convert the file, for example with iconv") from error

    def advice(self, file: str, names: Sequence[str]) -> str:
        """Returns which source to use, where the header looks like another format's."""
        return self._advice(file, self.delimiter.join(names))

    def _advice(self, file: str, line: str) -> str:
        if advice := json_advice(first_bytes(file, HEAD)):
            return advice
        if "\r" in line:
            return "Its lines end in carriage returns alone; convert them, for example with tr '\\r' '\\n'"
        found = max("\t,;|", key=line.count)
        if self.delimiter in line or found not in line:
            return ""
        how = "source=tsv" if found == "\t" else f"source=csv \"source.delimiter='{found}'\""
        if (self.delimiter, found) == ("\t", ","):
            how = "source=csv"
        return f"It has no {delimiter_name(self.delimiter)} but a {delimiter_name(found)}: {how}"

    def parser(self, schema: pa.Schema, scanner: Lines) -> Callable[[str], Statement]:
        """Returns a function that makes a Statement of a record's fields, by the header's names."""
        names: Sequence[str] = schema.names
        width, fields, mark = len(names), self.cutter(scanner), self.mark(scanner)
        source, target, evidence = (self.columns[role] for role in ("source", "target", "evidence"))

        def parse(text: str) -> Statement:
            values = fields(text)
            if len(values) != width:
                found = f"{len(values)} field{'s' * (len(values) != 1)}, the header has {width}"
                raise UnusableError(found + self.misfit(text, mark))
            row = dict(zip(names, values, strict=True))
            return Statement(row.pop(source), row.pop(target), row.pop(evidence), row)

        return parse


def _named_delimiter(file: str) -> tuple[str | None, int]:
    """Returns the delimiter that a file's first line names, and the offset behind that line; else (None, 0)."""
    with open_bytes(file) as stream, file_errors(file):
        found = _NAMED.match(stream.read(_NAMED_BYTES))
    if found is None:
        return None, 0
    return ("\t" if found["tab"] else found["mark"].decode()), found.end()
