"""Finds the items of one JSON array or object, or of a file of nothing but items. Each item is a record.

An item reaches from an opening bracket in the container to its closing bracket. An item that is no JSON is rejected
alone. Where brackets do not match, nobody can tell where the next item starts: then the items before that place are
kept, and the rest of the file is one rejection with its offset.
"""

import re
from collections.abc import Generator, Iterator

import numpy as np
import numpy.typing as npt

from stonkgs.source.file import BLOCK
from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, Extents, extents, past
from stonkgs.source.text.records import Lines, RawRecord
from stonkgs.statement import RAW_LIMIT, Rejection

#: A member of the container between two commas.
_MEMBER = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"?|[^",\\]++|\\.?)++', re.DOTALL)
#: The key before an item of an object.
_KEY = re.compile(rb'"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)
#: A text in quotes.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
#: The usual bytes between two items of an array. Other bytes are examined.
_JOINTS = frozenset((b"", b",", b", ", b",\n", b",\r\n", b"\n", b"\r\n"))
#: ASCII code of a closing bracket minus that of its opening one.
_CLOSING = 2

#: Reasons of rejections.
BETWEEN = "not an object, but what stands between two items"
LOST = "the brackets do not match from here on: the rest of the file is not read, however many items it holds"
CUT_SHORT = "the file ends before its closing bracket: it is cut short"


#: A record of the container: the offsets of its start and its end; its problem, if it has one; and its raw bytes, where
#: the window may not hold them.
Span = tuple[int, int, str | None, bytes | None]


class Items(Lines):
    """A scanner for the items of a container. Its `lines` counts items, as the file has no lines."""

    def __init__(self, file: str, max_record: int, container: Container) -> None:
        super().__init__(file, max_record)
        self.container = container

    def records(self, start: int, stop: int) -> Iterator[RawRecord]:
        """Yields the items that start in [start, stop). `start` is the start of the container or of a range."""
        self.lines = 0
        self.made_null.clear()
        for first, end, problem, raw in self._spans(max(start, self.container.start), stop):
            at = first - self.cursor.base
            shown = self.cursor.data[at : at + end - first] if raw is None else raw
            yield RawRecord(first, self.lines, shown, problem)
            self.lines += 1

    def rejection(self, record: RawRecord, reason: str) -> Rejection:
        raw = record.raw[:RAW_LIMIT]
        return Rejection(self.cursor.file, reason, raw, offset=record.offset, index=record.line)

    def ranges(self, text: int, step: int, stop: int = END, most: int = END) -> npt.NDArray[np.int64]:
        """Returns ranges [splits, 2]. Each starts at the first item at or after a multiple of `step` from `text`, or
        after `most` items.
        """
        starts, last, cut, count = [text], text, text + step, 0
        for first, end, _, _ in self._spans(text, stop):
            if first >= cut or count == most:
                starts.append(first)
                cut, count = first + step - (first - text) % step, 0
            last, count = end, count + 1
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], min(last, stop)], np.int64)], axis=1)

    def _spans(self, start: int, stop: int) -> Iterator[Span]:
        """Yields what starts in [start, stop). `start` is between two items."""
        cursor, place = self.cursor, start
        cursor.seek(place)
        while place < stop:
            found = extents(cursor.data[place - cursor.base :], place)
            passed = yield from self._whole_items(place, found, stop)
            if passed == place:
                passed = yield from self._next_item(place, stop)
            elif cursor.end - passed < BLOCK and not cursor.ended and passed < stop:
                cursor.fill(passed)
            place = passed

    def _whole_items(self, place: int, found: Extents, stop: int) -> Generator[Span, None, int]:
        """Yields the whole items in the window, up to one that is too long or wrong. Returns where to go on."""
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

    def _next_item(self, place: int, stop: int) -> Generator[Span, None, int]:
        """Yields the next item, however long or wrong it is. Returns where to go on, END where nothing follows."""
        place = self._skip_joint(place)
        first, close = self._find_next(place)
        if close is not None and close - place <= self.max_record:
            yield from self._at_close(place, close, stop)
            return END
        if first is None or first - place > self.max_record:
            yield from self._at_file_end(place, stop)
            return END
        yield from self._between(place, first, stop)
        if first >= stop:
            return END
        return (yield from self._long_item(first))

    def _skip_joint(self, place: int) -> int:
        """Returns the offset of the first byte that is neither comma nor white space, or the file's end."""
        cursor = self.cursor
        while True:
            rest = cursor.data[place - cursor.base :].lstrip(b", \t\r\n")
            if rest or cursor.ended:
                return cursor.end - len(rest)
            place = cursor.end
            cursor.fill(place)

    def _find_next(self, place: int) -> tuple[int | None, int | None]:
        """Returns the start of the next item, or None and the container's closing bracket if that comes first."""
        cursor = self.cursor
        while True:
            found = extents(cursor.data[place - cursor.base :], place)
            if len(found.starts):
                return int(found.starts[0]), None
            if found.close is not None or cursor.ended or cursor.end - place > self.max_record:
                return None, found.close
            cursor.fill(place)

    def _long_item(self, first: int) -> Generator[Span, None, int]:
        """Yields the item that starts here. Returns the offset past it, END where its brackets do not match."""
        cursor = self.cursor
        while not len(ends := extents(cursor.data[first - cursor.base :], first).ends):
            if cursor.ended or cursor.end - first > self.max_record:
                break
            cursor.fill(first)
        shown = self._excerpt(first)
        end = int(ends[0]) if len(ends) else past(cursor, first)
        if end is None or cursor.data[end - 1 - cursor.base] != shown[0] + _CLOSING:
            yield first, first + 1, LOST, shown
            return END
        if end - first > self.max_record:
            yield first, end, f"record of over {self.max_record} bytes", shown
        else:
            yield first, end, None, None
        return end

    def _between(self, start: int, end: int, stop: int) -> Iterator[Span]:
        """Yields a rejection for each member that is no array or object, and for anything else between two items."""
        for piece in _MEMBER.finditer(self.cursor.data, start - self.cursor.base, end - self.cursor.base):
            text = piece[0].strip()
            first = self.cursor.base + piece.start() + len(piece[0]) - len(piece[0].lstrip())
            key = self.container.kind == "{" and _KEY.fullmatch(text)
            if text and not key and first < stop:
                yield first, first + len(text), BETWEEN, text[:RAW_LIMIT]

    def _at_close(self, place: int, close: int, stop: int) -> Iterator[Span]:
        """Check the container's closing bracket: its kind, and that nothing follows the outermost one."""
        kind, found = self.container.kind, self.cursor.data[close - self.cursor.base]
        if not kind or found != ord(kind) + _CLOSING or (self.container.outermost and self._is_followed(close)):
            yield from self._lost(place, stop)
        else:
            yield from self._between(place, close, stop)

    def _is_followed(self, close: int) -> bool:
        """Returns whether anything but white space follows a bracket, or more than max_record bytes of that."""
        cursor = self.cursor
        while not cursor.ended and cursor.end - close <= self.max_record:
            cursor.fill(cursor.base)
        behind = cursor.data[close + 1 - cursor.base :][: self.max_record]
        return bool(behind.strip()) or len(behind) == self.max_record

    def _at_file_end(self, place: int, stop: int) -> Iterator[Span]:
        """Yields a rejection of the rest: the file ends without its closing bracket, or no bracket comes for long."""
        cursor = self.cursor
        if not cursor.ended or cursor.end - place > self.max_record:
            yield from self._lost(place, stop)
            return
        yield from self._between(place, cursor.end, stop)
        if self.container.kind and cursor.end < stop:
            yield cursor.end, cursor.end + 1, CUT_SHORT, b""

    def _lost(self, place: int, stop: int) -> Iterator[Span]:
        """Yields the rejection of the rest of the file, from this place on."""
        if place < stop:
            yield place, place + 1, LOST, self._excerpt(place)

    def _excerpt(self, place: int) -> bytes:
        """Returns the first bytes from a place on, for a rejection. Their number does not depend on the window."""
        cursor, most = self.cursor, min(self.max_record, RAW_LIMIT)
        while cursor.end - place < most and not cursor.ended:
            cursor.fill(cursor.base)
        return cursor.data[place - cursor.base :][:most]


class TextItems(Items):
    """A scanner for whose container a text in quotes is an item, too. It does not look for ranges."""

    def _next_item(self, place: int, stop: int) -> Generator[Span, None, int]:
        place = self._skip_joint(place)
        if (end := self._text_end(place)) is None:
            return (yield from super()._next_item(place, stop))
        while end is not None and place < stop:
            yield place, end, None, None
            place = self._skip_joint(end)
            end = self._text_end(place)
        return place

    def _between(self, start: int, end: int, stop: int) -> Iterator[Span]:
        for span in super()._between(start, end, stop):
            first, last, *_ = span
            yield (first, last, None, None) if self._text_end(first) == last else span

    def _text_end(self, place: int) -> int | None:
        """Returns the offset past the text that starts here; None where none does, or it exceeds max_record bytes."""
        cursor = self.cursor
        while True:
            if found := _TEXT.match(cursor.data, place - cursor.base):
                return cursor.base + found.end()
            rest = cursor.data[place - cursor.base :][:1]
            if cursor.ended or rest not in (b"", b'"') or cursor.end - place > self.max_record:
                return None
            cursor.fill(place)
