"""The base of sources whose records are JSON objects that give several rows or none: INDRA and BEL."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Literal

import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.indra.convert import Fault, Skipped
from stonkgs.source.base import Limit
from stonkgs.source.file import Paths
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.items import Items
from stonkgs.source.text.records import Lines, RangeSource, RawRecord
from stonkgs.statement import Rejection, Statement, Tally, UnusableError

#: Makes rows of a record. Raises UnusableError, before the first row, where nothing of the record can be used.
Convert = Callable[[RawRecord], Iterable[Statement | Skipped | Fault]]


class JsonObjectSource(RangeSource):
    """A source of JSON objects. A subclass defines `schema`, `scan` and `conversion`.

    `missing_text` says whether an evidence without a sentence is skipped or kept.
    """

    @checked("source")
    def __init__(
        self,
        *,
        path: Paths,
        missing_text: Literal["skip", "keep"] = "skip",
        max_record: Count = 1 << 24,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, max_record=max_record, limit=limit)
        self.missing_text = missing_text

    def takes_more(self, file: str) -> bool:
        """Returns whether the file has an object a line."""
        if not self.seekable(file):
            return False
        with closing(self.scan(file)) as scanner:
            return not isinstance(scanner, Items)

    @abstractmethod
    def conversion(self, scanner: Lines) -> Convert:
        """Returns a function that turns a record that `scanner` found into rows. Called once per split."""

    def understood(
        self, records: Iterator[RawRecord], scanner: Lines, schema: pa.Schema
    ) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows of all records, and returns the counts of what gave no row, by reason."""
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
        return Tally(lines, count, dict(without), dict(scanner.made_null))


def beginning(cursor: Cursor) -> bytes:
    """Returns the start of a file without leading white space; empty where the file has nothing else.

    It is the end of the cursor's window, so it begins at `cursor.end - len(it)`.
    """
    cursor.fill(cursor.text)
    while not (head := cursor.data.lstrip()) and not cursor.ended:
        cursor.fill(cursor.end)
    return head


def excerpt(head: bytes) -> str:
    """Returns the first characters of a file, for a message."""
    return ascii(head[:40].decode("utf-8", "replace"))
