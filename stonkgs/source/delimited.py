"""What TSV and CSV share: a header, and records of as many fields, cut at a delimiter."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import ClassVar, NamedTuple

import pyarrow as pa

from stonkgs.config.values import Count
from stonkgs.errors import UserError
from stonkgs.source.base import Limit, alike
from stonkgs.source.file import Paths
from stonkgs.source.split import END
from stonkgs.source.text.quoted import Quoted, called, cutter
from stonkgs.source.text.records import Lines, Record, TextSource
from stonkgs.statement import Statement, UnusableError


class Header(NamedTuple):
    """A file's first record."""

    names: list[str]
    #: Offset past it.
    end: int
    #: Lines up to its end.
    lines: int


class DelimitedSource(TextSource):
    """Values between delimiters. Every column is text, nothing is null: an empty field is an empty text."""

    #: What to do about quotes that are misplaced.
    remedy: ClassVar[str]

    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None,
        delimiter: str,
        max_record: Count,
        limit: Limit | None,
    ) -> None:
        super().__init__(path=path, columns=columns, max_record=max_record, limit=limit)
        self.delimiter = delimiter

    @abstractmethod
    def check(self) -> None:
        """UserError where one of the format's own settings is wrong."""

    @abstractmethod
    def misfit(self, text: str) -> str:
        """What may have given a record another number of fields than the header has; begins with "; " or is empty."""

    def scan(self, file: str) -> Lines:
        """A scanner of the csv dialect."""
        return Quoted(file, self.max_record, self.delimiter, self.remedy)

    def cutter(self) -> Callable[[str], list[str]]:
        """What cuts a record into its fields."""
        return cutter(self.delimiter)

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """The header's names, all of them text."""
        self.check()
        return alike(files, (pa.schema([(name, pa.string()) for name in self._header(file).names]) for file in files))

    def first_line(self, file: str) -> int:
        """The line below the header."""
        return self._header(file).lines + 1

    def text(self, scanner: Lines) -> int:
        """Offset past the header."""
        return self._read_header(scanner).end

    def _header(self, file: str) -> Header:
        with closing(self.scan(file)) as scanner:
            return self._read_header(scanner)

    def _read_header(self, scanner: Lines) -> Header:
        """The first record, which names the columns; UserError where there is none or it cannot be understood."""
        record = next(iter(scanner.records(0, END)), None)
        names = self._names(record, scanner.cursor.file)
        assert record is not None
        end = scanner.end(record.offset)
        assert end is not None
        return Header(names, end, scanner.lines)

    def _names(self, record: Record | None, file: str) -> list[str]:
        if record is None:
            raise UserError(f"{file}: is empty; its first line has to give the columns' names")
        if record.problem:
            advice = self._advice(record.raw.decode(errors="replace")) or record.problem
            raise UserError(f"{file}: the header is no record: {advice}")
        try:
            return self.cutter()(record.raw.decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: the header is not UTF-8; convert the file, for example with iconv") from error

    def advice(self, names: Sequence[str]) -> str:
        """The source to use instead, where the header looks like another format's."""
        return self._advice(self.delimiter.join(names))

    def _advice(self, line: str) -> str:
        if line.lstrip().startswith("{"):
            return "It looks like JSON Lines: source=jsonl"
        if "\r" in line:
            return "Its lines end in carriage returns alone; convert them, for example with tr '\\r' '\\n'"
        found = max("\t,;|", key=line.count)
        if self.delimiter in line or found not in line:
            return ""
        how = "source=tsv" if found == "\t" else f"source=csv \"source.delimiter='{found}'\""
        if (self.delimiter, found) == ("\t", ","):
            how = "source=csv"
        return f"It has no {called(self.delimiter)} but a {called(found)}: {how}"

    def parser(self, schema: pa.Schema) -> Callable[[str], Statement]:
        """Fields by the header's names."""
        names: Sequence[str] = schema.names
        width, fields = len(names), self.cutter()
        source, target, evidence = (self.columns[role] for role in ("source", "target", "evidence"))

        def parse(text: str) -> Statement:
            values = fields(text)
            if len(values) != width:
                found = f"{len(values)} field{'s' * (len(values) != 1)}, the header has {width}"
                raise UnusableError(found + self.misfit(text))
            row = dict(zip(names, values, strict=True))
            return Statement(row.pop(source), row.pop(target), row.pop(evidence), row)

        return parse
