"""The csv dialect over any delimiter: quoted fields, as pandas and spreadsheets write them."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.source.file import BLOCK
from stonkgs.source.split import END
from stonkgs.source.text.records import Lines

Match = Callable[[bytes, int, int], re.Match[bytes] | None]


class Patterns(NamedTuple):
    """The dialect as patterns over bytes.

    A quote opens a field only where the field starts, after a delimiter or a newline; elsewhere it is a character.
    Every repetition is possessive: nothing is tried twice, so time is linear in what is looked at.
    """

    #: From a record's start, a whole record; and the same where the file ends behind it.
    record: Match
    last: Match
    #: From a record's start, as much of one record as there is: up to its newline, a misplaced quote, or the end.
    part: Match
    #: From a record's start, over any number of records to the last place that is outside quotes.
    outside: Match
    #: From a place outside quotes to the end of its record.
    tail: Match


@cache
def patterns(delimiter: str) -> Patterns:
    """Compiled once a process: nothing of it is pickled."""
    d = re.escape(delimiter)
    opened = r'"[^"]*+(?:""[^"]*+)*+'
    quoted, last_quoted = rf'{opened}"(?=[{d}\n]|\r\n)', rf'{opened}"(?=[{d}\n]|\r\n|\Z)'
    # A record's first field is told without looking at the byte before it, which the window need not hold.
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


def _match(pattern: str) -> Match:
    return re.compile(pattern.encode()).match


def called(delimiter: str) -> str:
    """A delimiter's name in a message."""
    return {"\t": "tab", ",": "comma", ";": "semicolon"}.get(delimiter, repr(delimiter))


class Quoted(Lines):
    """Finds the records of a file whose quoted fields may hold delimiters and newlines."""

    def __init__(self, file: str, max_record: int, delimiter: str, remedy: str) -> None:
        super().__init__(file, max_record)
        self.delimiter, self.patterns = delimiter, patterns(delimiter)
        #: What to do about quotes that are misplaced.
        self.remedy = remedy
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
            if self.patterns.outside(cursor.data, at, newline + 1).end() == newline + 1:  # type: ignore[union-attr]
                return cursor.base + newline + 1
            open_too = self._failed < start and cursor.base + newline < self._hopeless
            if open_too and start + self.max_record + 1 < self._late:
                return None
        return self._search(start)

    def _search(self, start: int) -> int | None:
        """`end` for what is no record on its first line, or not wholly in the window."""
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
        self._late = cursor.base + late.end() if late else END
        self._failed, self._hopeless = start, min(cursor.base + stuck, start + BLOCK)
        return None

    def problem(self, line: bytes | None) -> str:
        """Why `end` gave None."""
        if line is None:
            return super().problem(line)
        return (
            f"a quoted field does not end at a {called(self.delimiter)} or a line's end "
            f"within {self.max_record} bytes; {self.remedy}"
        )

    def ranges(self, text: int, step: int, stop: int = END) -> npt.NDArray[np.int64]:
        """Ranges [splits, 2] that begin on records, each the first at or after a multiple of `step` from `text`."""
        self.cursor.seek(text)
        self._rough = 0
        starts, cut, start = [], text, text
        while cut < stop:
            start = self._after(start, cut)
            if start < cut or self.end(start) == start:  # the file's end
                stop = start
                break
            starts.append(start)
            cut = start + step - (start - text) % step
        starts = starts or [text]
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], stop], np.int64)], axis=1)

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
        place: int = self.patterns.outside(data, at, reach).end()  # type: ignore[union-attr]
        if place > at:
            if data[place - 1] == ord("\n"):
                return cursor.base + place
            if tail := self.patterns.tail(data, place, at + self.max_record + 1):
                return cursor.base + tail.end()
        self._rough = cursor.base + place + 1
        return start


def cutter(delimiter: str) -> Callable[[str], list[str]]:
    """What cuts a whole record into its fields, and takes the quotes off them."""

    def cut(text: str) -> list[str]:
        if '"' not in text:
            return text.split(delimiter)
        fields, pieces = [], iter(text.split(delimiter))
        for piece in pieces:
            if piece[:1] == '"':
                parts = [piece]
                if piece.count('"') % 2:  # a delimiter inside quotes has cut it
                    parts += _closing(pieces)
                fields.append(delimiter.join(parts)[1:-1].replace('""', '"'))
            else:
                fields.append(piece)
        return fields

    return cut


def _closing(pieces: Iterator[str]) -> list[str]:
    """The further pieces of a quoted field: up to the one that closes it."""
    taken = []
    for piece in pieces:
        taken.append(piece)
        if piece.count('"') % 2:
            break
    return taken
