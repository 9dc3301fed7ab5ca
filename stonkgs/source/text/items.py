"""Finds the items of one JSON array or object: each is a record.

An item is what lies between two brackets of the container's depth. One that is no JSON inside is rejected alone, and
its neighbours are read. Where the brackets themselves do not match, nobody can tell where the next item starts: then
the rest of the file is one rejection, with the offset at which it begins, and the items before it are kept.
"""

import re
from collections.abc import Generator, Iterator

import numpy as np
import numpy.typing as npt

from stonkgs.source.file import BLOCK
from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, Extents, extents, past
from stonkgs.source.text.records import Lines, Record
from stonkgs.statement import RAW_LIMIT, Rejection

#: What stands between two commas.
_MEMBER = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"?|[^",\\]++|\\.?)++', re.DOTALL)
#: What an object has before an item.
_KEY = re.compile(rb'"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)
#: What nearly always stands between two items of an array, so that it need not be looked at closely.
_JOINTS = frozenset((b"", b",", b", ", b",\n", b",\r\n"))
#: From the code of an opening bracket to that of the same kind's closing one, in ASCII.
_CLOSING = 2

BETWEEN = "not an object, but what stands between two items"
LOST = "the brackets do not match from here on: the rest of the file is not read, however many items it holds"
CUT_SHORT = "the file ends before its closing bracket: it is cut short"


#: A stretch of the container that is a record: its offsets, for an item that cannot be read its problem, and what is
#: shown of it where the window may have moved on.
Found = tuple[int, int, str | None, bytes | None]


class Items(Lines):
    """Finds the items of a container; `lines` counts them, as its file has no lines."""

    def __init__(self, file: str, max_record: int, container: Container) -> None:
        super().__init__(file, max_record)
        self.container = container

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """The items that start in [start, stop); `start` is the container's, or one that `ranges` gave."""
        self.lines = 0
        for first, end, problem, raw in self._found(max(start, self.container.start), stop):
            at = first - self.cursor.base
            shown = self.cursor.data[at : at + end - first] if raw is None else raw
            yield Record(first, self.lines, shown, problem)
            self.lines += 1

    def rejection(self, record: Record, reason: str) -> Rejection:
        raw = record.raw[:RAW_LIMIT]
        return Rejection(self.cursor.file, reason, raw, offset=record.offset, index=record.line)

    def ranges(self, text: int, step: int, stop: int = END) -> npt.NDArray[np.int64]:
        """Ranges [splits, 2] that begin on items, each the first at or after a multiple of `step` from `text`."""
        starts, last, cut = [text], text, text + step
        for first, end, _, _ in self._found(text, stop):
            if first >= cut:
                starts.append(first)
                cut = first + step - (first - text) % step
            last = end
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], min(last, stop)], np.int64)], axis=1)

    def _found(self, start: int, stop: int) -> Iterator[Found]:
        """What starts in [start, stop), from `start` on, a place between two items."""
        cursor, place = self.cursor, start
        cursor.seek(place)
        while place < stop:
            found = extents(cursor.data[place - cursor.base :], place)
            passed = yield from self._sound(place, found, stop)
            if passed == place:
                passed = yield from self._one(place, stop)
            elif cursor.end - passed < BLOCK and not cursor.ended and passed < stop:
                cursor.fill(passed)
            place = passed

    def _sound(self, place: int, found: Extents, stop: int) -> Generator[Found, None, int]:
        """The items that lie in the window, up to one that is too long or wrong; returns the place to go on from."""
        data, base = self.cursor.data, self.cursor.base
        for first, end in zip(found.starts.tolist(), found.ends.tolist(), strict=False):
            if end - place > self.max_record or data[end - base - 1] != data[first - base] + _CLOSING:
                break
            if data[place - base : first - base] not in _JOINTS:
                yield from self._between(place, first, stop)
            if first >= stop:
                return END
            yield first, end, None, None
            place = end
        return place

    def _one(self, place: int, stop: int) -> Generator[Found, None, int]:
        """What comes next, however long or wrong it is; returns the place to go on from, END where there is none."""
        place = self._behind_joint(place)
        first, close = self._next(place)
        if close is not None and close - place <= self.max_record:
            yield from self._closed(place, close, stop)
            return END
        if first is None or first - place > self.max_record:
            yield from self._ended(place, stop)
            return END
        yield from self._between(place, first, stop)
        if first >= stop:
            return END
        return (yield from self._long(first))

    def _behind_joint(self, place: int) -> int:
        """Where the first byte is that is neither a comma nor white space, or the file's end."""
        cursor = self.cursor
        while True:
            rest = cursor.data[place - cursor.base :].lstrip(b", \t\r\n")
            if rest or cursor.ended:
                return cursor.end - len(rest)
            place = cursor.end
            cursor.fill(place)

    def _next(self, place: int) -> tuple[int | None, int | None]:
        """Where the next item starts, or where the container's closing bracket is if that comes first."""
        cursor = self.cursor
        while True:
            found = extents(cursor.data[place - cursor.base :], place)
            if len(found.starts):
                return int(found.starts[0]), None
            if found.close is not None or cursor.ended or cursor.end - place > self.max_record:
                return None, found.close
            cursor.fill(place)

    def _long(self, first: int) -> Generator[Found, None, int]:
        """The item that starts here; returns the place behind it, END where its brackets do not match."""
        cursor = self.cursor
        while not len(ends := extents(cursor.data[first - cursor.base :], first).ends):
            if cursor.ended or cursor.end - first > self.max_record:
                break
            cursor.fill(first)
        shown = self._shown(first)
        end = int(ends[0]) if len(ends) else past(cursor, first)
        if end is None or cursor.data[end - 1 - cursor.base] != shown[0] + _CLOSING:
            yield first, first + 1, LOST, shown
            return END
        if end - first > self.max_record:
            yield first, end, f"record of over {self.max_record} bytes", shown
        else:
            yield first, end, None, None
        return end

    def _between(self, start: int, end: int, stop: int) -> Iterator[Found]:
        """Members that are no objects, or whatever else stands between two items."""
        for piece in _MEMBER.finditer(self.cursor.data, start - self.cursor.base, end - self.cursor.base):
            text = piece[0].strip()
            first = self.cursor.base + piece.start() + len(piece[0]) - len(piece[0].lstrip())
            key = self.container.kind == "{" and _KEY.fullmatch(text)
            if text and not key and first < stop:
                yield first, first + len(text), BETWEEN, text[:RAW_LIMIT]

    def _closed(self, place: int, close: int, stop: int) -> Iterator[Found]:
        """The container's closing bracket: of the right kind, and with nothing behind it where nothing may be."""
        right = self.cursor.data[close - self.cursor.base] == ord(self.container.kind) + _CLOSING
        if not right or (self.container.outermost and self._followed(close)):
            yield from self._lost(place, stop)
        else:
            yield from self._between(place, close, stop)

    def _followed(self, close: int) -> bool:
        """Whether the file has anything but white space behind a bracket, or more of that than a record is long."""
        cursor = self.cursor
        while not cursor.ended and cursor.end - close <= self.max_record:
            cursor.fill(cursor.base)
        behind = cursor.data[close + 1 - cursor.base :][: self.max_record]
        return bool(behind.strip()) or len(behind) == self.max_record

    def _ended(self, place: int, stop: int) -> Iterator[Found]:
        """No bracket follows within a record's length: the file ends here, or what follows is no list of items."""
        cursor = self.cursor
        if not cursor.ended or cursor.end - place > self.max_record:
            yield from self._lost(place, stop)
            return
        yield from self._between(place, cursor.end, stop)
        if cursor.end < stop:
            yield cursor.end, cursor.end + 1, CUT_SHORT, b""

    def _lost(self, place: int, stop: int) -> Iterator[Found]:
        """From this place on the file cannot be read."""
        if place < stop:
            yield place, place + 1, LOST, self._shown(place)

    def _shown(self, place: int) -> bytes:
        """The bytes from a place on that a rejection shows: as many in every window."""
        cursor, most = self.cursor, min(self.max_record, RAW_LIMIT)
        while cursor.end - place < most and not cursor.ended:
            cursor.fill(cursor.base)
        return cursor.data[place - cursor.base :][:most]
