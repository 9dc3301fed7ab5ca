"""Rows in memory: whatever people have in a notebook, as statements, a window at a time."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from stonkgs.errors import UserError
from stonkgs.indra.convert import Converter, Fault, Skipped, is_statement
from stonkgs.source.base import ROLES
from stonkgs.statement import RAW_LIMIT, OnRejected, Rejection, Statement, UnusableError

#: A dictionary with the three columns (others are kept in `extra`), a tuple of the three, a Statement; or an INDRA
#: statement, which gives a row for each of its evidences: an object of INDRA's, or its JSON.
Row = Mapping[str, Any] | Sequence[str] | Statement | Any


def windows(
    rows: Iterable[Row], *, size: int, columns: Mapping[str, str] | None, on_rejected: OnRejected | None
) -> Iterator[list[Statement]]:
    """Statements, `size` at a time. A row that is none goes to `on_rejected`.

    Without it the first such row ends everything in a UserError that names it, after the rows before it were given.
    """
    window: list[Statement] = []
    try:
        for statement in _statements(rows, roles(columns), on_rejected):
            window.append(statement)
            if len(window) >= size:
                yield window
                window = []
    except Exception:  # a bad row, or the caller's own iterator: what it gave before counts
        if window:
            yield window
        raise
    if window:
        yield window


def _statements(rows: Iterable[Row], names: Mapping[str, str], on_rejected: OnRejected | None) -> Iterator[Statement]:
    without = Counter[str]()
    for number, row in enumerate(rows, start=1):
        indra = not _has_roles(row, names) and is_statement(row)
        for record in _converted(row, number, without) if indra else [understood(row, number, names)]:
            if isinstance(record, Statement):
                yield record
            elif on_rejected:
                on_rejected(record)
            else:
                raise UserError(f"row {number}: {record.reason}; mend it, or go on without: on_rejected=print")
    if without:  # sound, but by the rules of conversion no row
        told = ", ".join(f"{count:,} {reason}" for reason, count in without.most_common())
        warnings.warn(f"INDRA statements or evidences without a row: {told}", stacklevel=2)


def _has_roles(row: Any, names: Mapping[str, str]) -> bool:
    """Whether it says itself what its source, target or evidence is."""
    if isinstance(row, Mapping):
        return names["source"] in row or names["target"] in row
    return isinstance(row, Statement | tuple)


def _converted(row: Any, number: int, without: Counter[str]) -> Iterator[Statement | Rejection]:
    """The rows of an INDRA statement."""
    try:
        for record in Converter()(dict(row) if isinstance(row, Mapping) else row.to_json()):
            if isinstance(record, Skipped):
                without[record.reason] += 1
            elif isinstance(record, Fault):
                yield _rejected(row, number, record.reason)
            else:
                yield record
    except UnusableError as error:
        yield _rejected(row, number, str(error))


def roles(columns: Mapping[str, str] | None) -> dict[str, str]:
    """The rows' own name of each role; UserError where `columns` knows another role."""
    if unknown := set(columns or {}) - set(ROLES):
        raise UserError(f"columns: no such role {sorted(unknown)}; there are {list(ROLES)}")
    return {role: role for role in ROLES} | dict(columns or {})


def understood(row: Row, number: int, names: Mapping[str, str]) -> Statement | Rejection:
    """A row as a Statement; a Rejection where it is none."""
    if isinstance(row, Statement):
        parts, extra = [row.source, row.target, row.evidence], row.extra
    elif (named := _named(row)) is not None:
        if missing := [name for name in names.values() if name not in named]:
            return _rejected(row, number, f"no {missing[0]!r}")
        parts = [named[name] for name in names.values()]
        extra = {key: value for key, value in named.items() if key not in names.values()}
    elif isinstance(row, Sequence) and not isinstance(row, str | bytes):
        if len(row) != len(ROLES):
            return _rejected(row, number, f"{len(row)} values; a tuple is (source, target, evidence)")
        parts, extra = list(row), {}
    else:
        return _rejected(row, number, f"a {type(row).__name__}, not a dictionary, a tuple of three or a Statement")
    for name, value in zip(names.values(), parts, strict=True):
        if reason := _fault(value):
            return _rejected(row, number, f"{name!r} {reason}")
    source, target, evidence = parts
    return Statement(source, target, evidence, extra)


def _named(row: Any) -> Mapping[str, Any] | None:
    """A row that knows its columns' names: a mapping, a named tuple (DataFrame.itertuples), a row of a database."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return dict(zip(row._fields, row, strict=True))
    if isinstance(row, Sequence) and callable(getattr(row, "keys", None)):
        return dict(zip(row.keys(), row, strict=True))  # type: ignore[attr-defined]
    return None


def _fault(value: Any) -> str | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has half a surrogate pair, which is no character"
        return None
    # pandas has three values for what is missing: None, NaN and NA.
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and isnan(value)):
        return "is null"
    return f"is of type {type(value).__name__}, not a text"


def _rejected(row: Any, number: int, reason: str) -> Rejection:
    return Rejection("rows", reason, repr(row).encode("utf-8", "backslashreplace")[:RAW_LIMIT], row=number)


def is_frame(rows: Any) -> bool:
    """Whether these are a pandas DataFrame; pandas itself is not needed to know."""
    return hasattr(rows, "iloc") and any(kind.__name__ == "DataFrame" for kind in type(rows).__mro__)


def frame_rows(frame: Any, columns: Mapping[str, str] | None) -> Iterator[dict[str, Any]]:
    """A DataFrame's rows, one at a time; UserError where one of the three columns is missing or there twice."""
    names = list(frame.columns)
    for name in roles(columns).values():
        if names.count(name) != 1:
            found = "no column" if name not in names else "more than one column"
            raise UserError(f"the data frame has {found} {name!r}; there are {names}. Name yours with columns=")
    return (dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None))
