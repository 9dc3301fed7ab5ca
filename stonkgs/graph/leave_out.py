"""Leaves out the rows that will be tested: vectors, and texts that are learned before, must not have met them.

A graph and a pre-training that are given equal settings leave out the same rows.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from stonkgs.config import Stage
from stonkgs.config.values import checked
from stonkgs.division import division
from stonkgs.errors import UserError
from stonkgs.kge.layout import name_hash
from stonkgs.protocol import TEST, Grouped, Protocol
from stonkgs.source.base import ROLES, Reader, Source
from stonkgs.source.fields import split_values, text_of
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.statement import Rejection, Statement

#: Why a row is left out: its group is tested, it states a tested pair, or it has one of the values of `where`.
GROUP, PAIR, WHERE = "group", "pair", "where"

#: A number that became a floating-point number because the column has gaps.
_WHOLE = re.compile(r"\d+(?=\.0\Z)")

#: Gives the rows of the input, as often as it is called.
Rows = Callable[[], Iterable[Statement | Rejection]]


class Hashes:
    """A set of texts, of which 8 bytes are kept. Two texts are taken for one with a chance of 1 in 10^19."""

    def __init__(self, hashes: Iterable[int]) -> None:
        distinct = np.unique(np.frombuffer(array("Q", hashes), np.uint64))
        self._sorted = array("Q", distinct.tobytes())

    def __contains__(self, hashed: int) -> bool:
        return self.find(hashed) >= 0

    def find(self, hashed: int) -> int:
        """Returns the position of a hash among all, in ascending order; -1 if it is not there."""
        at = bisect_left(self._sorted, hashed)
        return at if at < len(self._sorted) and self._sorted[at] == hashed else -1

    def __len__(self) -> int:
        return len(self._sorted)


@dataclass(frozen=True, eq=False)
class Choice:
    """Says of each row of one input whether it may be learned from. It may be pickled."""

    #: column -> the values that a row must not have
    where: Mapping[str, frozenset[str]]
    #: None: no row is tested
    protocol: Grouped | None
    #: the groups that are tested; None where the input does not say a row's group
    groups: Hashes | None
    #: the pairs of nodes that tested rows state
    pairs: Hashes
    #: whether rows that state such a pair are left out too
    leaves_pairs: bool
    #: what decides it, as JSON values; `stonkgs.graph.strict` compares it with a test
    record: Mapping[str, Any]

    def keeps(self, statement: Statement) -> bool:
        """Returns whether a row may be learned from."""
        return not self.reason(statement)

    def reason(self, statement: Statement) -> str:
        """Returns why a row is left out: GROUP, PAIR or WHERE; "" if it is kept."""
        for column, unwanted in self.where.items():
            if not unwanted.isdisjoint(split_values(_field(statement, column))):
                return WHERE
        if self.groups is not None and self.protocol and _group_hash(self.protocol, statement) in self.groups:
            return GROUP
        return PAIR if self.leaves_pairs and self.tested_pair(statement) >= 0 else ""

    def tested_pair(self, statement: Statement) -> int:
        """Returns which of `pairs` a row states, whatever its group; -1 if no tested row is about its two nodes."""
        return self.pairs.find(_pair_hash(statement)) if len(self.pairs) else -1


class LeaveOut(Stage):
    """Leaves out each row whose group `protocol` tests among the rows of `source`; by default among the input's own.

    With `pairs` rows of other groups are left out too, if they state the same two nodes as a tested row, in either
    direction. Rows with one of the values of `where` in a column are left out in any case.
    """

    @checked("without")
    def __init__(
        self,
        *,
        protocol: Protocol | None = None,
        source: Source | None = None,
        pairs: bool = False,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        if protocol is not None and not isinstance(protocol, Grouped):
            raise UserError(
                "without: only a protocol that divides rows by groups tells which rows will be tested, whatever file "
                "they are in: protocol=grouped or protocol=folds"
            )
        if source is not None and source.limit is not None:
            raise UserError(
                f"without.source.limit={source.limit}: a test may be of any row of the file; leave the limit out"
            )
        self.protocol, self.source, self.pairs = protocol, source, pairs
        self.where = {str(column): frozenset(_texts(column, values)) for column, values in (where or {}).items()}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files of the rows that will be tested, beside the input. Raises UserError where there are none."""
        return self.source.files() if self.source else ()

    def choice(
        self,
        columns: Collection[str],
        rows: Rows,
        *,
        files: Sequence[Fingerprint] = (),
        named: Mapping[str, str] | None = None,
    ) -> Choice:
        """Find out which groups are tested, and return what chooses among the input's rows.

        `columns` are those of the input, source, target and evidence among them where it has these; `named` says what
        its `files` call these three. Raises UserError if a column is missing that is needed. Takes 8 bytes for each
        tested row, or 16 where the input has no evidence.
        """
        for column in self.where:
            if column not in columns:
                raise UserError(f"without.where: the input has no column {column!r}; there are {_listed(columns)}")
        record: dict[str, Any] = {"where": {column: sorted(values) for column, values in self.where.items()}}
        if self.protocol is None:
            return Choice(self.where, None, None, Hashes(()), False, record)
        by_group = self.protocol.by in columns
        if not by_group and (self.source is None or not self.pairs):
            raise UserError(self._missing(columns, self.protocol.by))
        reader = self.source.reader() if self.source else None
        if reader:
            _check_column(reader, self.protocol)
            files, named = [watch.fingerprint for watch in reader.watched.values()], reader.source.columns
        groups, pairs, found = _tested(self.protocol, _read(reader) if reader else rows(), "evidence" in columns)
        by = self.protocol.by
        found |= {
            "division": division(self.protocol, files),
            "own": reader is None,
            "column": (named or {}).get(by, by),
        }
        record |= {**found, "groups": by_group, "pairs": self.pairs}
        return Choice(self.where, self.protocol, groups if by_group else None, pairs, self.pairs, record)

    def _missing(self, columns: Collection[str], by: str) -> str:
        advice = f"name a column with protocol.by= (there are {_listed(columns)})"
        if self.source is not None:
            advice += ", or leave out all rows about the two nodes of a tested row: --pairs (without.pairs=true)"
        return f"without: the input has no column {by!r}, by which its rows of a tested group could be told; {advice}"


def _tested(
    protocol: Grouped, rows: Iterable[Statement | Rejection], by_evidence: bool
) -> tuple[Hashes, Hashes, dict[str, Any]]:
    """Returns the tested groups, the pairs that tested rows state, and how many they are, as JSON values.

    A tested row without a group of its own is grouped by its evidence, and by source and target in an input that has
    none: unless `by_evidence`, both are tested groups.
    """
    groups, pairs, rejected = array("Q"), array("Q"), 0
    for row in rows:
        if isinstance(row, Rejection):
            rejected += 1
        elif protocol.part(row, 0) == TEST:
            groups.append(_group_hash(protocol, row))
            pairs.append(_pair_hash(row))
            if not by_evidence:
                groups.append(_group_hash(protocol, Statement(row.source, row.target, "", row.extra)))
    if not pairs:
        raise UserError(f"without: no row will be tested by this protocol ({protocol.name}); is it the right file?")
    return Hashes(groups), Hashes(pairs), {"tested": len(pairs), "rejected": rejected}


def columns_of(reader: Reader) -> set[str]:
    """Returns the columns of a source's rows, as `LeaveOut.choice` takes them."""
    return {*ROLES, *reader.plan.schema.names} - ({*reader.source.columns.values()} - {*ROLES})


def _read(reader: Reader) -> Iterator[Statement | Rejection]:
    for split in tqdm(reader.plan, "tested rows", unit=" splits", leave=False, disable=None):
        yield from reader.read(split)


def _check_column(reader: Reader, protocol: Grouped) -> None:
    columns = columns_of(reader)
    if protocol.by not in columns:
        file = reader.plan.files[0]
        raise UserError(f"{file}: no column {protocol.by!r} (protocol.by=); there are {_listed(columns)}")


def _field(statement: Statement, column: str) -> Any:
    return getattr(statement, column) if column in ROLES else statement.extra[column]


def _group_hash(protocol: Grouped, statement: Statement) -> int:
    group = protocol.group(statement)
    whole = _WHOLE.match(group)  # 24497843 in one file is 24497843.0 in another
    return _hash(whole[0] if whole else group)


def _pair_hash(statement: Statement) -> int:
    return _hash("\0".join(sorted((statement.source, statement.target))))


def _hash(text: str) -> int:
    return name_hash(text.encode(errors="surrogatepass"))


def _texts(column: str, values: Any) -> Sequence[str]:
    several = values if isinstance(values, list | tuple) else [values]
    if not several or any(value is None or isinstance(value, Mapping | list | tuple) for value in several):
        raise UserError(f"without.where.{column}={values}: must be a value or a list of values")
    return [text_of(value).strip() for value in several]


def _listed(columns: Collection[str]) -> str:
    return ", ".join(sorted(columns))
