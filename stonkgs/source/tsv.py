"""Tab-separated values with a header, the way pandas and spreadsheets write them, or with plain quotes."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.errors import UserError
from stonkgs.source.base import alike
from stonkgs.source.file import BLOCK, Paths
from stonkgs.source.text import END, Lines, TextSource, UnusableError
from stonkgs.statement import Statement

# The csv dialect as patterns. A quote opens a field only where the field starts, after a tab or a newline; elsewhere it
# is a character. Every repetition is possessive: nothing is tried twice, so time is linear in what is looked at.
_OPEN = rb'"[^"]*+(?:""[^"]*+)*+'
_QUOTED = _OPEN + rb'"(?=[\t\n]|\r\n)'
_LAST_QUOTED = _OPEN + rb'"(?=[\t\n]|\r\n|\Z)'
# A record's first field is told without looking at the byte before it, which the window need not hold.
_FIRST = rb'(?:%b)?+(?!")'
_REST = rb'(?:[^"\n]++|(?<![\t\n])"|%b)*+'

#: From a record's start, a whole record; and the same where the file ends behind it.
RECORD = re.compile(_FIRST % _QUOTED + _REST % _QUOTED + rb"\n")
LAST = re.compile(_FIRST % _LAST_QUOTED + _REST % _LAST_QUOTED + rb"(?:\n|\Z)")
#: From a record's start, as much of one record as there is: up to its newline, a misplaced quote, or the end.
PART = re.compile(rb"(?:%b)?+(?:%b\"?)?+" % (_FIRST % _QUOTED + _REST % _QUOTED, _OPEN))
#: From a record's start, over any number of records to the last place that is outside quotes.
OUTSIDE = re.compile(rb'(?:%b[^"]*+(?:(?:(?<![\t\n])"|%b)[^"]*+)*+)?+' % (_FIRST % _QUOTED, _QUOTED))
#: From a place outside quotes to the end of its record.
TAIL = re.compile(_REST % _QUOTED + rb"\n")
#: The fields of a whole record: (quoted, plain).
FIELD = re.compile(r'(?:\A|\t)(?:"((?:[^"]++|"")*+)"|([^\t]*+))')


class Quoted(Lines):
    """Finds the records of a file whose quoted fields may hold tabs and newlines."""

    def __init__(self, file: str, max_record: int) -> None:
        super().__init__(file, max_record)
        # What a failed search from `_failed` has told: a record that starts behind it and is open at a newline before
        # `_hopeless` is none either, unless it reaches to `_late`. (Two records that are open at one newline go the
        # same way.) Without this, a file of stray quotes would be searched from each of its lines.
        self._failed, self._hopeless, self._late = 0, 0, END
        # Before this offset `_hop` has failed.
        self._rough = 0

    def end(self, start: int) -> int | None:
        """As for lines; None also where quotes are misplaced, or are not closed within max_record bytes."""
        cursor = self.cursor
        at = start - cursor.base
        newline = cursor.data.find(b"\n", at, at + self.max_record + 1)
        if newline >= 0:
            if OUTSIDE.match(cursor.data, at, newline + 1).end() == newline + 1:  # type: ignore[union-attr]
                return cursor.base + newline + 1
            open_too = self._failed < start and cursor.base + newline < self._hopeless
            if open_too and start + self.max_record + 1 < self._late:
                return None
        return self._search(start)

    def _search(self, start: int) -> int | None:
        """`end` for what is no record on its first line, or not wholly in the window."""
        cursor, ahead = self.cursor, self.max_record + BLOCK
        while True:
            data, at = cursor.data, start - cursor.base
            last = cursor.ended and len(data) - at <= self.max_record
            if whole := (LAST if last else RECORD).match(data, at, at + self.max_record + 1):
                return cursor.base + whole.end()
            stuck: int = PART.match(data, at, at + ahead).end()  # type: ignore[union-attr]
            if cursor.ended or stuck + 1 < len(data) or len(data) - at >= ahead:
                break
            cursor.fill(start)
        late = (LAST if cursor.ended else RECORD).match(data, at, at + ahead)
        self._late = cursor.base + late.end() if late else END
        self._failed, self._hopeless = start, min(cursor.base + stuck, start + BLOCK)
        return None

    def problem(self, line: bytes | None) -> str:
        """Why `end` gave None."""
        if line is None:
            return super().problem(line)
        return (
            f"a quoted field does not end at a tab or a line's end within {self.max_record} bytes; "
            "if quotes are ordinary characters in this file, set source.quoting=none"
        )

    def ranges(self, text: int, step: int) -> npt.NDArray[np.int64]:
        """Ranges [splits, 2] that begin on records, each the first at or after a multiple of `step` from `text`."""
        self.cursor.seek(text)
        self._rough = 0
        starts, cut, start = [], text, text
        while (start := self._after(start, cut)) >= cut and self.end(start) != start:
            starts.append(start)
            cut = start + step - (start - text) % step
        starts = starts or [text]
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], start], np.int64)], axis=1)

    def _after(self, start: int, cut: int) -> int:
        """From the record that starts at `start`, the first start at or after `cut`, or the file's end."""
        while start < cut:
            if (hopped := self._hop(start, cut)) > start:
                start = hopped
            elif (end := self.end(start)) != start:
                start = self.cursor.next_line(start, END) if end is None else end
            else:
                break
        return start

    def _hop(self, start: int, cut: int) -> int:
        """A later record's start, past `cut` only if none lies between; `start` itself where that takes more care.

        Goes by quotes alone, at block speed. What it passes is no longer than max_record, so no record in it is.
        """
        if start < self._rough or self._failed < start < self._hopeless:
            return start
        cursor = self.cursor
        while cursor.end - start < BLOCK and not cursor.ended:
            cursor.fill(start)
        data, at = cursor.data, start - cursor.base
        reach = min(cut - cursor.base, at + BLOCK // 2, at + self.max_record + 1)
        place: int = OUTSIDE.match(data, at, reach).end()  # type: ignore[union-attr]
        if place > at:
            if data[place - 1] == ord("\n"):
                return cursor.base + place
            if tail := TAIL.match(data, place, at + self.max_record + 1):
                return cursor.base + tail.end()
        self._rough = cursor.base + place + 1
        return start


def unquoted(text: str) -> list[str]:
    """The fields of a whole record, without the quotes around them."""
    fields = text.split("\t")
    for number, field in enumerate(fields):
        if field[:1] == '"':
            # A tab inside quotes has cut this one: rare, and slower by a factor of four.
            if field.count('"') % 2:
                return [quoted.replace('""', '"') or plain for quoted, plain in FIELD.findall(text)]
            fields[number] = field[1:-1].replace('""', '"')
    return fields


class Header(NamedTuple):
    """A file's first record."""

    names: list[str]
    #: Offset past it.
    end: int
    #: Lines up to its end.
    lines: int


class TsvSource(TextSource):
    """Tab-separated values. Every column is text, nothing is null: an empty field is an empty text."""

    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None = None,
        quoting: Literal["csv", "none"] = "csv",
        max_record: int = 1 << 20,
    ) -> None:
        super().__init__(path=path, columns=columns, max_record=max_record)
        self.quoting = quoting

    def scan(self, file: str) -> Lines:
        """A scanner of the dialect."""
        return (Quoted if self.quoting == "csv" else Lines)(file, self.max_record)

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """The header's names, all of them text."""
        if self.quoting not in ("csv", "none"):
            raise UserError(f"source.quoting is {self.quoting!r}; it is csv or none")
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
        file = scanner.cursor.file
        record = next(iter(scanner.records(0, END)), None)
        if record is None:
            raise UserError(f"{file}: is empty; a TSV file starts with a line of column names")
        if record.problem:
            raise UserError(f"{file}: the header is no record: {record.problem}")
        try:
            names = self._fields(record.raw.decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: the header is not UTF-8; convert the file, for example with iconv") from error
        end = scanner.end(record.offset)
        assert end is not None
        return Header(names, end, scanner.lines)

    def _fields(self, text: str) -> list[str]:
        return text.split("\t") if self.quoting == "none" or '"' not in text else unquoted(text)

    def parser(self) -> Callable[[str], Statement]:
        """Fields by the header's names."""
        assert self.planned is not None
        names: Iterable[str] = self.planned.schema.names
        width, fields = len(self.planned.schema.names), self._fields
        source, target, evidence = (self.columns[role] for role in ("source", "target", "evidence"))

        def parse(text: str) -> Statement:
            values = fields(text)
            if len(values) != width:
                raise UnusableError(_wrong_width(text, len(values), width))
            row = dict(zip(names, values, strict=True))
            return Statement(row.pop(source), row.pop(target), row.pop(evidence), row)

        return parse


def _wrong_width(text: str, found: int, width: int) -> str:
    reason = f"{found} field{'s' * (found != 1)}, the header has {width}"
    lines = text.count("\n") + 1
    return reason if lines == 1 else f"{reason}; quotes join {lines} lines here: if they are plain, source.quoting=none"
