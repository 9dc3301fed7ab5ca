"""The records that sources give: a Statement for a row that can be used, a Rejection for one that cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: A rejected row keeps this many bytes of its raw text: enough to find it again, whatever its size.
RAW_LIMIT = 64 * 1024


@dataclass(slots=True)
class Statement:
    """A triple's two nodes, in BEL, and the sentence that it was read from.

    An empty name means an unknown node, and an empty evidence is a valid text. A row in which one of the three is
    missing is a Rejection instead.
    """

    source: str
    target: str
    evidence: str
    #: The values of the input's other columns, by column name. They reach the output unchanged.
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Rejection:
    """A row that cannot be used, and what a person needs to find and correct it."""

    file: str
    reason: str
    #: The first RAW_LIMIT bytes of the record.
    raw: bytes
    #: Offset of the record's first byte in the (decompressed) file; None for Parquet.
    offset: int | None = None
    #: Number of lines between the start of the split and this record; None where a format has no lines. A split is read
    #: without the splits before it. When they are finished the writer adds their lines, which makes this the line
    #: number in the file.
    line: int | None = None
    #: Number of the row in its Parquet file, from 1; None for other formats.
    row: int | None = None
    #: The same for the items of a file that is one JSON array or object: the writer makes it the item's index in the
    #: file, from 0. None for other formats.
    index: int | None = None


#: A function that receives the rows that cannot be used, so that reading goes on after them.
OnRejected = Callable[[Rejection], None]


class Tally(NamedTuple):
    """Counts of one split, known when all of its rows have been read."""

    #: lines of the file; None where a format has no lines
    lines: int | None = None
    #: records, where one record may give several rows or none; None where each record is one row
    records: int | None = None
    #: reason -> number of valid records, or parts of records, that gave no row for it
    without_row: Mapping[str, int] = {}
    #: reason -> number of values beside sound sentences that became null for it
    made_null: Mapping[str, int] = {}


class UnusableError(Exception):
    """A record cannot be used as a statement. The message is the reason that its Rejection gives."""
