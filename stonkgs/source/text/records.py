"""What the text formats share: a window that slides over a file's bytes, and the records found in it."""

import re
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.source.base import Limit, Source
from stonkgs.source.file import BLOCK, Kept, Paths, compression, content_size, naming, open_bytes
from stonkgs.source.split import END, SPLIT_BYTES, Split, ranges
from stonkgs.source.text.foreign import HEAD, check_text
from stonkgs.statement import RAW_LIMIT, Rejection, Statement, Tally, UnusableError

BOM = b"\xef\xbb\xbf"
#: The mean record is that of this many bytes at a file's start.
SAMPLE = 1 << 20


#: Blank lines; a carriage return alone is no line's end.
BLANK = re.compile(rb"(?:\r?\n)*+")


class Record(NamedTuple):
    """A record as it lies in its file."""

    #: Of its first byte, in the decompressed file.
    offset: int
    #: Lines before it in the stretch that is read.
    line: int
    #: Its bytes without the line's end; of a record with a problem, what is shown of it.
    raw: bytes
    problem: str | None = None


class Cursor:
    """A window that slides forward over a file's (decompressed) bytes. All positions are offsets in the file.

    It may also move back: a plain file seeks, a packed one starts over. UserError where the file is no text.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.stream = open_bytes(file)
        self.base, self.data, self.ended = 0, b"", False
        with naming(file):
            check_text(file, self.stream.peek(HEAD)[:HEAD])
            head = self.stream.read(len(BOM))
        #: Where the text starts: after the byte order mark, if there is one.
        self.text = len(BOM) if head == BOM else 0
        self.data = head

    @property
    def end(self) -> int:
        """Offset past the window's last byte; the file's size once `ended`."""
        return self.base + len(self.data)

    def fill(self, keep: int) -> None:
        """Slide on by a block, forgetting what lies before `keep`."""
        kept = self.data[keep - self.base :]
        with naming(self.file):
            # By a quarter where a record is larger than the blocks: copies stay in proportion to what is read.
            block = self.stream.read(max(BLOCK, len(kept) // 4))
        self.base, self.data, self.ended = keep, kept + block, not block

    def seek(self, offset: int) -> None:
        """Have the window hold or begin at this offset."""
        if self.base <= offset <= self.end:
            return
        with naming(self.file):
            self.stream.seek(offset)
        self.base, self.data, self.ended = offset, b"", False

    def next_line(self, offset: int, stop: int) -> int:
        """Where the first line after `offset` starts; `stop` (or the file's end) if that is no earlier.

        Looks no further than `stop`, at most a block at a time, and leaves the byte before `stop` in the window.
        """
        while offset < stop - 1:
            found = self.data.find(b"\n", offset - self.base, stop - 1 - self.base)
            if found >= 0:
                return self.base + found + 1
            offset = min(self.end, stop - 1)
            if offset == self.end:
                if self.ended:
                    return offset
                self.fill(offset)
        return stop

    def close(self) -> None:
        """Close the file."""
        self.stream.close()

    def __del__(self) -> None:
        if "stream" in self.__dict__:
            self.close()


class Lines:
    """Finds the records of a file of which each line is one."""

    def __init__(self, file: str, max_record: int) -> None:
        self.cursor, self.max_record = Cursor(file), max_record
        #: Lines that the records of the last stretch took.
        self.lines = 0

    def close(self) -> None:
        """Close the file."""
        self.cursor.close()

    def end(self, start: int) -> int | None:
        """Offset past the record that starts here and past its newline; `start` itself at the file's end.

        None where it cannot be a record. The answer depends on the file alone, never on where the window lies.
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
        """Why `end` gave None, from the record's first line; that is None where it is longer than max_record."""
        return f"record of over {self.max_record} bytes"

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """The records that start in [start, stop), blank lines left out; then `lines` is how many lines they took."""
        self.lines = 0
        offset = self._enter(start, stop)
        while offset < stop and (end := self.end(offset)) != offset:
            line = self.lines
            if end is None:
                self.lines = line + 1
                # Before its end is looked for: who stops here need not pass through the whole of a huge line.
                yield self._broken(offset, line)
                offset = self.cursor.next_line(offset, stop)
                continue
            raw = self.cursor.data[offset - self.cursor.base : end - self.cursor.base]
            self.lines = line + raw.count(b"\n") + (not raw.endswith(b"\n"))
            raw = _without_newline(raw)
            if raw.strip(b"\r"):
                yield Record(offset, line, raw)
            else:
                end = self._pass_blank(end, stop)
            offset = end

    def _pass_blank(self, offset: int, stop: int) -> int:
        """Offset past the blank lines from here on, as far as the window reaches: there may be millions of them."""
        cursor = self.cursor
        # The stop may lie inside the line break that was just passed.
        run = BLANK.match(cursor.data, offset - cursor.base, max(stop, offset) - cursor.base)
        assert run is not None
        self.lines += run[0].count(b"\n")
        return cursor.base + run.end()

    def _enter(self, start: int, stop: int) -> int:
        """Offset of the first record at or after `start`: a line's start, so the byte before it is a newline."""
        if start <= self.cursor.text:
            self.cursor.seek(self.cursor.text)
            return self.cursor.text
        self.cursor.seek(start - 1)
        return self.cursor.next_line(start - 1, stop)

    def _broken(self, offset: int, line: int) -> Record:
        end = Lines.end(self, offset)
        at = offset - self.cursor.base
        if end is None:
            return Record(offset, line, self.cursor.data[at : at + self.max_record][:RAW_LIMIT], self.problem(None))
        raw = _without_newline(self.cursor.data[at : end - self.cursor.base])
        return Record(offset, line, raw[:RAW_LIMIT], self.problem(raw))

    def rejection(self, record: Record, reason: str) -> Rejection:
        """What is told of a record that cannot be used."""
        return Rejection(self.cursor.file, reason, record.raw[:RAW_LIMIT], offset=record.offset, line=record.line)

    def ranges(self, text: int, step: int, stop: int = END) -> npt.NDArray[np.int64]:
        """Ranges [splits, 2] of `step` bytes from offset `text` to `stop`, or the file's end. Looks at no line."""
        return ranges(text, content_size(self.cursor.file) if stop == END else stop, step)

    def mean(self, text: int) -> float:
        """Bytes of a record, over the records that start in the first MB."""
        count = sum(1 for _ in self.records(text, text + SAMPLE))
        return (min(self.cursor.end, text + SAMPLE) - text) / max(count, 1)


def _without_newline(raw: bytes) -> bytes:
    """The record without its LF or CRLF; a CR with no LF behind it is data."""
    return raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")


class RangeSource(Source):
    """A format whose splits are byte ranges. A subclass tells where the records start and which rows they give."""

    @checked("source")
    def __init__(
        self, *, path: Paths, columns: Mapping[str, str] | None, max_record: Count, limit: Limit | None
    ) -> None:
        super().__init__(path=path, columns=columns, limit=limit)
        #: Bytes; a longer record is rejected, and memory stays in proportion to this.
        self.max_record = max_record
        self.kept: Kept[Lines] = Kept()

    @abstractmethod
    def understood(
        self, records: Iterator[Record], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """The rows that a split's records give, with the columns of `schema`."""

    def scan(self, file: str) -> Lines:
        """A fresh scanner for the records of a file."""
        return Lines(file, self.max_record)

    def text(self, scanner: Lines) -> int:
        """Offset of the first byte that may start a record."""
        return scanner.cursor.text

    def seekable(self, file: str) -> bool:
        return compression(file) is None

    def reach(self, file: str, count: int) -> tuple[int, int]:
        """How many there are, and the offset past the last one's first byte: a split owns what starts in it."""
        with closing(self.scan(file)) as scanner:
            found, stop = 0, self.text(scanner)
            for record in islice(scanner.records(stop, END), count):
                found, stop = found + 1, record.offset + 1
            return found, stop

    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """Byte ranges [splits, 2] of about `rows` mean records, and of SPLIT_BYTES at most."""
        with closing(self.scan(file)) as scanner:
            text = self.text(scanner)
            step = min(SPLIT_BYTES, int(rows * scanner.mean(text)))
            return scanner.ranges(text, max(step, 1), stop)

    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """The records that start in [start, stop), in order; the tally tells how many lines they took.

        The file stays open for the next split, so that a process passes once through what cannot be seeked.
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
    """A format of which each record is a row. A subclass tells how one is understood."""

    @abstractmethod
    def parser(self, schema: pa.Schema) -> Callable[[str], Statement]:
        """What turns a record's text into a Statement, or raises UnusableError; made once a split."""

    def understood(
        self, records: Iterator[Record], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """A row each."""
        parse = self.parser(schema)
        for record in records:
            try:
                yield parse(decoded(record))
            except UnusableError as error:
                yield scanner.rejection(record, str(error))
        return Tally(lines=scanner.lines)


def decoded(record: Record) -> str:
    """A record's text; UnusableError where it has none."""
    if record.problem:
        raise UnusableError(record.problem)
    try:
        return record.raw.decode()
    except UnicodeDecodeError as error:
        bad = record.raw[error.start]
        raise UnusableError(f"not UTF-8: byte {error.start + 1} of the record is 0x{bad:02x}") from error
