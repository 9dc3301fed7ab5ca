"""The items of one JSON array or object as records, sound ones and broken ones."""

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, Extents, extents
from stonkgs.source.text.records import SAMPLE, Lines, Record
from stonkgs.statement import RAW_LIMIT, Rejection

#: What stands between two commas.
_MEMBER = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"?|[^",\\]++|\\.?)++', re.DOTALL)
#: What an object has before an item.
_KEY = re.compile(rb'"(?:[^"\\]++|\\.)*+"\s*+:', re.DOTALL)


class Opening(NamedTuple):
    """How an item begins that can be told from whatever it stands in, be that a string that is not closed."""

    #: Of its first member, in quotes.
    key: bytes
    #: Its bracket and its first member.
    head: re.Pattern[bytes]
    #: The same behind a closing bracket, up to its own. It has whole members alone, so that a match never depends on
    #: where the window ends, and no bracket but its first, so that it starts an item and never reaches into another.
    start: re.Pattern[bytes]


def opening(key: bytes, values: bytes) -> Opening:
    """Of items whose first member has such a value, an expression for a text without quotes and brackets.

    No object in a list within an item may begin like it.
    """
    head = rb'\{\s{0,99}+"' + key + rb'"\s{0,99}+:\s{0,99}+"(?:' + values + rb')"'
    before = rb'[\]}]\s{0,999}+(?:[,\[]\s{0,999}+)?+(?:"-?\d{1,20}+"\s{0,99}+:\s{0,999}+)?+'
    return Opening(b'"%s"' % key, re.compile(head), re.compile(before + rb"(?=" + head + rb")"))


#: What a match looks at is no longer than this.
_OVERLAP = 8192
#: Behind what is broken, so many bytes are looked at, then more and more: the next item may be broken too.
_AHEAD = 4096
#: What an item has before its first key.
_HEAD = b"{ \t\r\n"
#: Between two items that need no closer look stand a comma and so many bytes at most.
_JOINT = 32


class Items(Lines):
    """Finds the items of a container; `lines` counts them, as its file has no lines.

    An item is what lies between two brackets of the container's depth. One that is not closed within max_record bytes
    has a quote or a bracket too many: it is a record with a problem, and the next one is looked for by its first key.
    """

    opening = opening(b"type", rb"\w{1,99}+")

    def __init__(self, file: str, max_record: int, container: Container) -> None:
        super().__init__(file, max_record)
        self.container = container

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """The items that start in [start, stop)."""
        self.lines = 0
        for offset, end, problem in self._stretches(max(start, self.container.start), stop):
            at = offset - self.cursor.base
            yield Record(offset, self.lines, self.cursor.data[at : at + end - offset], problem)
            self.lines += 1

    def rejection(self, record: Record, reason: str) -> Rejection:
        raw = record.raw[:RAW_LIMIT]
        return Rejection(self.cursor.file, reason, raw, offset=record.offset, index=record.line)

    def ranges(self, text: int, step: int, stop: int = END) -> npt.NDArray[np.int64]:
        """Ranges [splits, 2] that begin on items, each the first at or after a multiple of `step` from `text`.

        Where nearly all items can be told by how they begin, each is the first of these: what lies between two is then
        not looked at, which takes a third of the time.
        """
        starts, last = [text], text

        def cut() -> int:
            return starts[-1] + step - (starts[-1] - text) % step

        if self._told(text):
            self.cursor.seek(text)
            while (first := self._first(cut())) < stop:
                starts.append(first)
            # What is told of a file that is cut short stands behind its last byte.
            last = self.cursor.end + 1 if self.cursor.ended else END
        else:
            for offset, end, _ in self._stretches(text, stop):
                if offset >= cut():
                    starts.append(offset)
                last = max(end, last)
        return np.stack([np.array(starts, np.int64), np.array([*starts[1:], min(last, stop)], np.int64)], axis=1)

    def _told(self, text: int) -> bool:
        """Whether nearly all items in the first MB can be told by how they begin."""
        # What is behind the container may look like an item; so may what is behind more white space than a record has.
        if not self.container.outermost or self.max_record < _OVERLAP:
            return False
        count = told = 0
        for offset, _, problem in self._stretches(text, text + SAMPLE):
            count += problem is None
            told += self.opening.head.match(self.cursor.data, offset - self.cursor.base) is not None
        return told > 0.9 * count

    def _first(self, place: int) -> int:
        """Where the first item starts at or after a place that can be told by how it begins, or END."""
        cursor = self.cursor
        while True:
            for found in self.opening.start.finditer(cursor.data, max(place - _OVERLAP - cursor.base, 0)):
                # Behind an opening bracket it may be inside an item, which is an array.
                if cursor.base + found.end() >= place and b"[" not in found[0]:
                    return cursor.base + found.end()
            if cursor.ended:
                return END
            cursor.fill(max(cursor.base, min(max(place, cursor.end) - _OVERLAP, cursor.end)))

    def _stretches(self, start: int, stop: int) -> Iterator[tuple[int, int, str | None]]:
        """(start, end, problem) of each item from `start`, a place between two items, that starts before `stop`."""
        cursor, place, look = self.cursor, start, END
        cursor.seek(start)
        while place < stop:
            seen = min(place + look, cursor.end)
            found = extents(cursor.data[place - cursor.base : seen - cursor.base], place)
            place, broken = yield from self._sound(place, found, stop)
            ended = cursor.ended and seen == cursor.end
            if place >= stop:
                return
            if place == broken == found.close:
                place, look = (yield from self._closed(place, stop)), _AHEAD
            elif broken is not None and (place < broken or self._lost(place, seen) or ended):
                place, look = (yield from self._unclosed(place)), _AHEAD
            elif broken is None and (self._lost(place, seen) or ended):
                place = yield from self._cut_short(place, stop)
            elif seen < cursor.end:
                look *= 4
            else:
                cursor.fill(place)

    def _sound(
        self, place: int, found: Extents, stop: int
    ) -> Generator[tuple[int, int, str | None], None, tuple[int, int | None]]:
        """The items of a stretch and what stands between them, up to the first that is lost or not closed in it.

        Returns a place to go on from, and where that item or the container's closing bracket is, if there is one. The
        two differ where what is between them is lost as well.
        """
        alike = self._alike(place, found)
        for first, end in zip(found.starts.tolist(), found.ends.tolist(), strict=False):
            if not alike:
                if self._lost(place, first):
                    return place, first
                yield from self._between(place, first, stop)
            if first >= stop:
                return END, None
            if not alike and self._lost(first, end):
                return first, first  # the same as if its end were not there yet
            yield first, end, None
            place = end
        broken = found.open if found.close is None else found.close
        if broken is None or self._lost(place, broken):
            return place, broken
        yield from self._between(place, broken, stop)
        return broken, broken

    def _alike(self, place: int, found: Extents) -> bool:
        """Whether all items of a stretch begin in the same way, a comma between, and hold the start of no other.

        Told for all of them at once, and so of nearly all stretches of nearly all files: none is lost then, and
        nothing else stands between them.
        """
        data, base, count = self.cursor.data, self.cursor.base, len(found.ends)
        starts, ends = found.starts[:count] - base, found.ends - base
        if count < 2 or (ends - starts).max() > self.max_record:
            return False
        joints, before = starts[1:] - ends[:-1], data[place - base : starts[0]]
        joint, key = int(joints[0]), self.opening.key
        head = data.find(key, starts[0], starts[0] + 128) + len(key) - starts[0]
        if max(len(before), joint) > _JOINT or (joints != joint).any() or not 0 < head <= (ends - starts).min():
            return False
        codes = np.frombuffer(data, np.uint8)
        heads, between = codes[starts[:, None] + np.arange(head)], codes[ends[:-1, None] + np.arange(joint)]
        return bool(
            before.strip() in (b"", b",")
            and between[0].tobytes().strip() == b","
            and (between == between[0]).all()
            and not heads[0].tobytes().removesuffix(key).strip(_HEAD)
            and (heads == heads[0]).all()
            and data.count(key, starts[0], ends[-1]) == count
        )

    def _lost(self, start: int, end: int) -> bool:
        """Whether an item, or what is between two, is too long or holds the start of another, as by a stray quote."""
        if end - start > self.max_record:
            return True
        at = start - self.cursor.base
        data, past = self.cursor.data, end - self.cursor.base
        found = data.find(self.opening.key, at, past)
        if at <= found <= at + 128 and not data[at:found].strip(_HEAD):  # an item's own
            found = data.find(self.opening.key, found + 1, past)
        # There is hardly ever another; to look for the word takes no time.
        return found >= 0 and self.opening.start.search(data, at, past) is not None

    def _between(self, start: int, end: int, stop: int) -> Iterator[tuple[int, int, str | None]]:
        """Members that are no objects, or whatever else stands between two items."""
        at = start - self.cursor.base
        if self.cursor.data[at : min(end - self.cursor.base, at + _JOINT)].strip() == b"," and end - start <= _JOINT:
            return
        for piece in _MEMBER.finditer(self.cursor.data, at, max(end, start) - self.cursor.base):
            text = piece[0].strip()
            offset = self.cursor.base + piece.start() + len(piece[0]) - len(piece[0].lstrip())
            key = self.container.kind == "{" and _KEY.fullmatch(text)
            if text and not key and offset < stop:
                yield offset, offset + len(text), "not an object, but what stands between two items"

    def _closed(self, close: int, stop: int) -> Generator[tuple[int, int, str | None], None, int]:
        """Tell of a bracket that closes the container if it should not; returns where the next item starts, or END."""
        cursor = self.cursor
        if close >= stop:
            return END
        while cursor.end - close <= _OVERLAP and not cursor.ended:
            cursor.fill(close)
        at = close - cursor.base
        right = cursor.data[at] == ord({"[": "]", "{": "}"}[self.container.kind])
        if (
            right
            and not self.opening.start.match(cursor.data, at)
            and not (self.container.outermost and self._followed(close))
        ):
            return END
        yield close, close + 1, "a closing bracket too many, or one with something behind it"
        return self._next(close)

    def _followed(self, close: int) -> bool:
        """Whether the file has anything but white space behind a bracket, or more of that than a record is long."""
        cursor = self.cursor
        while True:
            at = close + 1 - cursor.base
            if cursor.data[at : at + self.max_record].strip() or cursor.end - close > self.max_record:
                return True
            if cursor.ended:
                return False
            cursor.fill(close)

    def _unclosed(self, start: int) -> Generator[tuple[int, int, str | None], None, int]:
        """Tell of an item that is not closed; returns where the next one starts, or END."""
        cursor = self.cursor
        while True:
            at = start - cursor.base
            if found := self.opening.start.search(cursor.data, at, at + self.max_record):
                yield start, cursor.base + found.start() + 1, "another starts inside it: a quote or a bracket is wrong"
                return cursor.base + found.end()
            if cursor.ended or cursor.end - start > self.max_record:
                break
            cursor.fill(start)
        where = f"within {self.max_record} bytes" if cursor.end - start > self.max_record else "where the file ends"
        problem = f"no end of it {where}: a quote or a bracket too many, or cut short"
        yield start, min(cursor.end, start + min(self.max_record, RAW_LIMIT)), problem
        return self._next(start)

    def _next(self, place: int) -> int:
        """Where the next item starts that can be told by its first key, or END."""
        cursor = self.cursor
        while not (found := self.opening.start.search(cursor.data, place - cursor.base)):
            if cursor.ended:
                return END
            place = max(place, cursor.end - _OVERLAP)
            cursor.fill(place)
        return cursor.base + found.end()

    def _cut_short(self, place: int, stop: int) -> Generator[tuple[int, int, str | None], None, int]:
        """No bracket follows a place between two items: the file ends, and the container's bracket is missing."""
        cursor = self.cursor
        if self._lost(place, cursor.end):
            return (yield from self._unclosed(place))
        yield from self._between(place, cursor.end, stop)
        if cursor.end < stop:
            yield cursor.end, cursor.end + 1, "the file ends before its closing bracket: it is cut short"
        return END
