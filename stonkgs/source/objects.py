"""Files of JSON objects, of which one may give several rows or none: INDRA statements, edges of BEL graphs."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Literal

import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.indra.convert import Fault, Skipped
from stonkgs.source.base import Limit
from stonkgs.source.file import Paths
from stonkgs.source.text.items import Items
from stonkgs.source.text.records import Cursor, Lines, RangeSource, Record
from stonkgs.statement import Rejection, Statement, Tally, UnusableError

#: Takes a record. UnusableError, before anything is given, where nothing of it can be used.
Convert = Callable[[Record], Iterable[Statement | Skipped | Fault]]


class ObjectSource(RangeSource):
    """A format of which each record is a JSON object. A subclass tells where they start and what rows one gives.

    `missing_text` is what becomes of an evidence without a sentence: skip, or keep.
    """

    @checked("source")
    def __init__(
        self, *, path: Paths, missing_text: Literal["skip", "keep"], max_record: Count, limit: Limit | None
    ) -> None:
        super().__init__(path=path, columns=None, max_record=max_record, limit=limit)
        self.missing_text = missing_text

    @abstractmethod
    def conversion(self, scanner: Lines) -> Convert:
        """What turns the text of a record that `scanner` has found into rows; made once a split."""

    def understood(
        self, records: Iterator[Record], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """A record's rows; what gives none is counted by its reason."""
        convert, without, count = self.conversion(scanner), Counter[str](), 0
        for record in records:
            count += 1
            try:
                rows = convert(record)
            except UnusableError as error:
                yield scanner.rejection(record, str(error))
                continue
            for row in rows:
                if isinstance(row, Statement):
                    yield row
                elif isinstance(row, Skipped):
                    without[row.reason] += 1
                else:
                    yield scanner.rejection(record, row.reason)
        lines = None if isinstance(scanner, Items) else scanner.lines
        return Tally(lines=lines, records=count, without_row=dict(without))


def beginning(cursor: Cursor) -> bytes:
    """What a window from the text's start on holds behind the first white space, up to its end; no byte of a file
    that has nothing else.
    """
    cursor.fill(cursor.text)
    while not (head := cursor.data.lstrip()) and not cursor.ended:
        cursor.fill(cursor.end)
    return head


def excerpt(head: bytes) -> str:
    """The first characters of a file, for a message."""
    return ascii(head[:40].decode("utf-8", "replace"))
