"""The records that flow: a Statement that can be read, and a Rejection for a row that cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: A rejected row keeps this many bytes of its raw text: enough to find it again, whatever its size.
RAW_LIMIT = 64 * 1024


@dataclass(slots=True)
class Statement:
    """A triple's two nodes, in BEL, and the sentence that it was read from.

    An empty name is an unknown node and an empty evidence is a valid text; what is missing is a Rejection instead.
    """

    source: str
    target: str
    evidence: str
    #: The input's other columns by name, passed through to the output as they are.
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Rejection:
    """A row that cannot be used, with what somebody needs to find and mend it."""

    file: str
    reason: str
    #: The record's bytes, cut to RAW_LIMIT.
    raw: bytes
    #: Where the record starts, in bytes of the (decompressed) file; None where a format has no such thing.
    offset: int | None = None
    #: Lines of the same split before this record; None where a format has no lines. A split may start anywhere in a
    #: file that nobody has read up to there, so the file's own line number is known only once the splits before it
    #: are through: the writer adds their lines.
    line: int | None = None
    #: The record's number in its file, from 1, where records are numbered (Parquet).
    row: int | None = None
    #: Items of the same split before this record, where a file is one JSON array or object; as for `line`, the writer
    #: adds those of the splits before: then it is the item's index in the file, from 0.
    index: int | None = None


#: Takes the rows that cannot be used, so that the rest goes on.
OnRejected = Callable[[Rejection], None]


class Tally(NamedTuple):
    """What the reading of a split came to, beside its rows."""

    #: None where a format has no lines
    lines: int | None = None
    #: records of a format of which one gives none or several rows; None where each is a row
    records: int | None = None
    #: why records, or parts of them, gave no row although they are sound -> how many of them
    without_row: Mapping[str, int] = {}


class UnusableError(Exception):
    """Why a record is no statement; it becomes a Rejection."""
