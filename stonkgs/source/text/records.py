"""The base of text sources: a scanner finds the records in a file, and a source reads ranges of them."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.source.base import Limit, Source
from stonkgs.source.file import Paths, ReaderCache, compression
from stonkgs.source.split import END, MOST, SPLIT_BYTES, Split
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.starts import bounded_ranges
from stonkgs.statement import RAW_LIMIT, Rejection, Statement, Tally, UnusableError

#: Bytes at a file's start from which the size of the mean record is estimated.
SAMPLE = 1 << 20


#: Blank lines. A carriage return alone does not end a line.
BLANK = re.compile(rb"(?:\r?\n)*+")


class RawRecord(NamedTuple):
    """A record as it lies in its file."""

    #: Offset of its first byte in the decompressed file.
    offset: int
    #: Number of lines (for JSON items: of items) before it in the split.
    line: int
    #: Its bytes without the line's end; only the first of them if it has a problem.
    raw: bytes
    #: Why it cannot be used, where that is known.
    problem: str | None = None


class Lines:
    """A scanner for files in which each line is a record."""

    def __init__(self, file: str, max_record: int) -> None:
        self.cursor, self.max_record = Cursor(file), max_record
        #: Offset of the first byte that is read: of a table's header.
        self.head = 0
        #: Number of lines that `records` has passed in its last call.
        self.lines = 0
        #: Reason -> number of values of these records that became null, as whoever reads them counts.
        self.made_null = Counter[str]()

    def close(self) -> None:
        """Close the file."""
        self.cursor.close()

    def end(self, start: int) -> int | None:
        """Returns the offset past the record that starts here and past its newline; `start` at the file's end.

        Returns None where no valid record starts here. The answer does not depend on where the window lies.
        """
        cursor = self.cursor
        while True:
            at = start - cursor.base
            found = cursor.data.find(b"\n", at, at + self.max_record + 1)
            if found >= 0:
                return cursor.base + found + 1
            if len(cursor.data) - at > self.max_record:
                return None
            if cursor.ended:
                return cursor.end
            cursor.fill(start)

    def problem(self, line: bytes | None) -> str:
        """Returns why `end` gave None. `line` is the record's first line, None if it is longer than max_record."""
        return f"record of over {self.max_record} bytes"

    def records(self, start: int, stop: int) -> Iterator[RawRecord]:
        """Yields the records that start in [start, stop), without blank lines. Counts all lines in `lines`."""
        self.lines = 0
        self.made_null.clear()
        offset = self._enter(start, stop)
        while offset < stop and (end := self.end(offset)) != offset:
            line = self.lines
            if end is None:
                self.lines = line + 1
                # Yielded before its end is searched, so that a caller who stops does not read a huge line.
                yield self._broken(offset, line)
                offset = self.cursor.next_line(offset, stop)
                continue
            raw = self.cursor.data[offset - self.cursor.base : end - self.cursor.base]
            self.lines = line + raw.count(b"\n") + (not raw.endswith(b"\n"))
            raw = _without_newline(raw)
            if raw.strip(b"\r"):
                yield RawRecord(offset, line, raw)
            else:
                end = self._pass_blank(end, stop)
            offset = end

    def _pass_blank(self, offset: int, stop: int) -> int:
        """Returns the offset past the blank lines that start here and lie in the window. There may be millions."""
        cursor = self.cursor
        # `stop` may lie inside the line break before `offset`.
        run = BLANK.match(cursor.data, offset - cursor.base, max(stop, offset) - cursor.base)
        assert run is not None
        self.lines += run[0].count(b"\n")
        return cursor.base + run.end()

    def _enter(self, start: int, stop: int) -> int:
        """Returns the offset of the first line that starts at or after `start`."""
        if start <= self.cursor.text:
            self.cursor.seek(self.cursor.text)
            return self.cursor.text
        self.cursor.seek(start - 1)
        return self.cursor.next_line(start - 1, stop)

    def _broken(self, offset: int, line: int) -> RawRecord:
        end = Lines.end(self, offset)
        at = offset - self.cursor.base
        if end is None:
            return RawRecord(offset, line, self.cursor.data[at : at + self.max_record][:RAW_LIMIT], self.problem(None))
        raw = _without_newline(self.cursor.data[at : end - self.cursor.base])
        return RawRecord(offset, line, raw[:RAW_LIMIT], self.problem(raw))

    def rejection(self, record: RawRecord, reason: str) -> Rejection:
        """Returns the Rejection of a record that cannot be used."""
        return Rejection(self.cursor.file, reason, record.raw[:RAW_LIMIT], offset=record.offset, line=record.line)

    def ranges(self, text: int, step: int, stop: int = END, most: int = END) -> npt.NDArray[np.int64]:
        """Returns ranges [splits, 2] of `step` bytes from `text` to `stop` or the file's end, and of `most` records.

        They may cut lines: a range owns the records that start in it.
        """
        return bounded_ranges(self.cursor.file, text, step, stop, most)

    def mean(self, text: int) -> float:
        """Returns the mean bytes of a record, from the first MiB."""
        count = sum(1 for _ in self.records(text, text + SAMPLE))
        return (min(self.cursor.end, text + SAMPLE) - text) / max(count, 1)


def _without_newline(raw: bytes) -> bytes:
    """Returns the record without its LF or CRLF. A lone CR is data."""
    return raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")


class RangeSource(Source):
    """A source whose splits are byte ranges. A subclass defines the scanner (`scan`, `text`) and `understood`."""

    @checked("source")
    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None = None,
        max_record: Count = 1 << 20,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, columns=columns, limit=limit)
        #: The most bytes of a record. A longer one is rejected, which bounds the memory.
        self.max_record = max_record
        self.kept: ReaderCache[Lines] = ReaderCache()

    @abstractmethod
    def understood(
        self, records: Iterator[RawRecord], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows of a split's records, with the columns of `schema`, and returns the counts."""

    def scan(self, file: str) -> Lines:
        """Returns a new scanner for the records of a file."""
        return Lines(file, self.max_record)

    def text(self, scanner: Lines) -> int:
        """Returns the offset of the first byte that may start a record."""
        return scanner.cursor.text

    def seekable(self, file: str) -> bool:
        return compression(file) is None

    def until(self, file: str, size: int) -> int:
        return size if self.seekable(file) else END

    def takes_more(self, file: str) -> bool:
        return self.seekable(file)

    def reach(self, file: str, count: int) -> tuple[int, int]:
        """Returns the number of records found, at most `count`, and the offset past the first byte of the last."""
        with closing(self.scan(file)) as scanner:
            found, stop = 0, self.text(scanner)
            for record in islice(scanner.records(stop, END), count):
                found, stop = found + 1, record.offset + 1
            return found, stop

    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns byte ranges [splits, 2] of about `rows` mean records each.

        None has more than SPLIT_BYTES, or more records than MOST * `rows`.
        """
        with closing(self.scan(file)) as scanner:
            text = self.text(scanner)
            step = min(SPLIT_BYTES, int(rows * scanner.mean(text)))
            return scanner.ranges(text, max(step, 1), stop, MOST * rows)

    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows of the records that start in [start, stop), and returns the counts.

        The file stays open for the next split, so that a process unpacks a compressed file only once.
        """
        scanner = self.kept.take(split.file) or self.scan(split.file)
        try:
            return (yield from self.understood(scanner.records(split.start, split.stop), scanner, schema))
        finally:
            self._give_back(scanner, split)

    def _give_back(self, scanner: Lines, split: Split) -> None:
        if scanner.cursor.ended and split.stop >= scanner.cursor.end:
            scanner.close()
        else:
            self.kept.give(split.file, scanner)


class TextSource(RangeSource):
    """A source in which each record is one row. A subclass defines `schema` and `parser`."""

    @abstractmethod
    def parser(self, schema: pa.Schema, scanner: Lines) -> Callable[[str], Statement]:
        """Returns a function that makes a Statement of a record of the scanned file, or raises UnusableError."""

    def understood(
        self, records: Iterator[RawRecord], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """Yields a Statement or a Rejection for each record."""
        parse = self.parser(schema, scanner)
        for record in records:
            try:
                yield parse(decoded(record))
            except UnusableError as error:
                yield scanner.rejection(record, str(error))
        return Tally(lines=scanner.lines)


def decoded(record: RawRecord) -> str:
    """Returns a record's text. Raises UnusableError where it has a problem or is not UTF-8."""
    if record.problem:
        raise UnusableError(record.problem)
    try:
        return record.raw.decode()
    except UnicodeDecodeError as error:
        bad = record.raw[error.start]
        raise UnusableError(f"not UTF-8: byte {error.start + 1} of the record is 0x{bad:02x}") from error
