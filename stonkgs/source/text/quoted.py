"""Finds the records of CSV and TSV files whose quoted fields may hold delimiters and newlines, and cuts out fields."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.source.file import BLOCK
from stonkgs.source.split import END
from stonkgs.source.text.records import Lines
from stonkgs.source.text.starts import SHORT, line_ends

Matcher = Callable[[bytes, int, int], re.Match[bytes] | None]


class Patterns(NamedTuple):
    """Compiled patterns over the bytes of a file.

    A quote opens a quoted field only at the start of a field; elsewhere it is an ordinary character. Every repetition
    is possessive, so nothing is tried twice and the time is linear in the number of bytes.
    """

    #: Matches one whole record from its start.
    record: Matcher
    #: The same where the file may end behind the record.
    last: Matcher
    #: Matches from a record's start up to its newline, to a misplaced quote, or to the end of the data.
    part: Matcher
    #: Matches from a record's start, over any number of records, to the last place outside quotes.
    outside: Matcher
    #: Matches from a place outside quotes to the end of its record.
    tail: Matcher


@cache
def patterns(delimiter: str) -> Patterns:
    """Returns the patterns for a delimiter. Each process compiles them once."""
    d = re.escape(delimiter)
    opened = r'"[^"]*+(?:""[^"]*+)*+'
    quoted, last_quoted = rf'{opened}"(?=[{d}\n]|\r\n)', rf'{opened}"(?=[{d}\n]|\r\n|\Z)'
    # A record's first field is recognised without the byte before it, which the window may not hold.
    first, last_first = (rf'(?:{field})?+(?!")' for field in (quoted, last_quoted))
    bare = rf'(?<![{d}\n])"'
    rest, last_rest = (rf'(?:[^"\n]++|{bare}|{field})*+' for field in (quoted, last_quoted))
    return Patterns(
        record=_match(rf"{first}{rest}\n"),
        last=_match(rf"{last_first}{last_rest}(?:\n|\Z)"),
        part=_match(rf'(?:{first}{rest})?+(?:{opened}"?)?+'),
        outside=_match(rf'(?:{first}[^"]*+(?:(?:{bare}|{quoted})[^"]*+)*+)?+'),
        tail=_match(rf"{rest}\n"),
    )


def _match(pattern: str) -> Matcher:
    return re.compile(pattern.encode()).match


def delimiter_name(delimiter: str) -> str:
    """Returns the name of a delimiter for a message."""
    return {"\t": "tab", ",": "comma", ";": "semicolon"}.get(delimiter, repr(delimiter))


class Quoted(Lines):
    """Finds the records of a file whose quoted fields may hold delimiters and newlines."""

    def __init__(self, file: str, max_record: int, delimiter: str, remedy: str) -> None:
        super().__init__(file, max_record)
        self.delimiter, self.patterns = delimiter, patterns(delimiter)
        #: Advice for a user whose file has misplaced quotes.
        self.remedy = remedy
        # The last failed search started at `_failed_at`; with a larger max_record it would have ended at `_late_end`. A
        # later record that is inside quotes at a newline before `_fails_until` meets the same bytes in the same state:
        # it fails too, unless its max_record reaches `_late_end`. Without this, a file of stray quotes would be
        # searched again from each of its lines.
        self._failed_at, self._fails_until, self._late_end = 0, 0, END
        # `_hop` is not tried before this offset, because it has failed there.
        self._no_hop_before = 0

    def end(self, start: int) -> int | None:
        """Returns what `Lines.end` does; None also where a quote is misplaced or not closed within max_record bytes."""
        cursor = self.cursor
        at = start - cursor.base
        newline = cursor.data.find(b"\n", at, at + self.max_record + 1)
        if newline >= 0:
            if self.patterns.outside(cursor.data, at, newline + 1).end() == newline + 1:  # type: ignore[union-attr]
                return cursor.base + newline + 1
            same_state = self._failed_at < start and cursor.base + newline < self._fails_until
            if same_state and start + self.max_record + 1 < self._late_end:
                return None
        return self._search(start)

    def _search(self, start: int) -> int | None:
        """Returns what `end` does, for a record that spans lines or reaches past the window."""
        cursor, ahead = self.cursor, self.max_record + BLOCK
        record, last_record, part, *_ = self.patterns
        while True:
            data, at = cursor.data, start - cursor.base
            last = cursor.ended and len(data) - at <= self.max_record
            if whole := (last_record if last else record)(data, at, at + self.max_record + 1):
                return cursor.base + whole.end()
            stuck: int = part(data, at, at + ahead).end()  # type: ignore[union-attr]
            if cursor.ended or stuck + 1 < len(data) or len(data) - at >= ahead:
                break
            cursor.fill(start)
        late = (last_record if cursor.ended else record)(data, at, at + ahead)
        self._late_end = cursor.base + late.end() if late else END
        self._failed_at, self._fails_until = start, min(cursor.base + stuck, start + BLOCK)
        return None

    def problem(self, line: bytes | None) -> str:
        """Returns why `end` gave None."""
        if line is None:
            return super().problem(line)
        return (
            f"a quoted field does not end at a {delimiter_name(self.delimiter)} or a line's end "
            f"within {self.max_record} bytes; {self.remedy}"
        )

    def ranges(self, text: int, step: int, stop: int = END, most: int = END) -> npt.NDArray[np.int64]:
        """Returns ranges [splits, 2]. Each starts at the first record at or after a multiple of `step` from `text`, or
        after `most` records.
        """
        self.cursor.seek(text)
        self._no_hop_before = 0
        starts, cut, start = [], text, text
        while cut < stop:
            start = self._after(start, cut, most)
            if start >= stop:
                break
            if self.end(start) == start:  # the file's end
                stop = start
                break
            starts.append(start)
            cut = start + step - (start - text) % step
        starts = starts or [text]
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], stop], np.int64)], axis=1)

    def _after(self, start: int, cut: int, most: int) -> int:
        """Returns where the first record at or after `cut` starts, the record after `most` others, or the file's end.

        A record starts at `start`.
        """
        while start < cut and most > 0:
            if (hopped := self._hop(start, cut)) > start:
                # Lines are quick to count, and there are at least as many of them as records.
                lines = self.cursor.data.count(b"\n", start - self.cursor.base, hopped - self.cursor.base)
                if lines > most or lines * SHORT > hopped - start:
                    ends = self._ends(start, hopped)
                    lines, hopped = len(ends), hopped if len(ends) <= most else start + int(ends[most - 1])
                start, most = hopped, most - lines
            elif (end := self.end(start)) != start:
                start = self.cursor.next_line(start, END) if end is None else end
                most -= 1
            else:
                break
        return start

    def _ends(self, start: int, stop: int) -> Sequence[int] | npt.NDArray[np.int64]:
        """Returns where each record that is not blank ends among whole records in the window, counted from `start`."""
        data = self.cursor.data[start - self.cursor.base : stop - self.cursor.base]
        if b'"' not in data:
            return line_ends(data)
        ends, place = [], 0
        while place < len(data) and (found := self.patterns.record(data, place, len(data))):
            place = found.end()
            if found[0].strip(b"\r\n"):
                ends.append(place)
        return ends

    def _hop(self, start: int, cut: int) -> int:
        """Returns where a later record starts, or `start`. It skips no record that starts at or after `cut`.

        It is fast because it looks at quotes alone. It passes at most max_record bytes, so no record in them is longer.
        """
        if start < self._no_hop_before or self._failed_at < start < self._fails_until:
            return start
        cursor = self.cursor
        while cursor.end - start < BLOCK and not cursor.ended:
            cursor.fill(start)
        data, at = cursor.data, start - cursor.base
        limit = min(cut - cursor.base, at + BLOCK // 2, at + self.max_record + 1)
        place: int = self.patterns.outside(data, at, limit).end()  # type: ignore[union-attr]
        if place > at:
            if data[place - 1] == ord("\n"):
                return cursor.base + place
            if tail := self.patterns.tail(data, place, at + self.max_record + 1):
                return cursor.base + tail.end()
        self._no_hop_before = cursor.base + place + 1
        return start


def cutter(delimiter: str) -> Callable[[str], list[str]]:
    """Returns a function that splits a record into its fields and removes their quotes."""

    def cut(text: str) -> list[str]:
        if '"' not in text:
            return text.split(delimiter)
        fields, pieces = [], iter(text.split(delimiter))
        for piece in pieces:
            if piece[:1] == '"':
                parts = [piece]
                if piece.count('"') % 2:  # split at a delimiter inside quotes
                    parts += _closing(pieces)
                fields.append(delimiter.join(parts)[1:-1].replace('""', '"'))
            else:
                fields.append(piece)
        return fields

    return cut


def _closing(pieces: Iterator[str]) -> list[str]:
    """Returns the further pieces of a quoted field, up to the one with its closing quote."""
    taken = []
    for piece in pieces:
        taken.append(piece)
        if piece.count('"') % 2:
            break
    return taken
