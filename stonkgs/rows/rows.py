"""Turns rows in memory (dictionaries, tuples, DataFrames, INDRA statements) into windows of statements."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from stonkgs.encode.inputs import check_columns
from stonkgs.errors import UserError
from stonkgs.indra.convert import Complexes, Converter, Fault, Skipped, is_statement
from stonkgs.source.base import ROLES
from stonkgs.statement import RAW_LIMIT, OnRejected, Rejection, Statement, UnusableError

#: A dictionary with source, target and evidence (other keys go into `extra`), a tuple of these three, or a Statement;
#: or an INDRA statement as an object or as JSON, which gives a row for each of its evidences.
Row = Mapping[str, Any] | Sequence[str] | Statement | Any


def windows(
    rows: Iterable[Row],
    *,
    size: int,
    columns: Mapping[str, str] | None,
    on_rejected: OnRejected | None,
    complexes: Complexes = "skip",
    reads: Mapping[str, str] | None = None,
) -> Iterator[list[Statement]]:
    """Yields statements, `size` at a time. `on_rejected` is called with each row that is no statement.

    Without `on_rejected`, the first such row raises UserError, after the rows before it were yielded. `complexes` says
    what becomes of an INDRA statement that is a Complex, as for `Converter`. `reads` are further columns that a row
    must have to be a statement, and the key that names each.
    """
    window: list[Statement] = []
    try:
        convert = Converter(complexes=complexes)
        for statement in _statements(rows, role_names(columns), on_rejected, convert, reads or {}):
            window.append(statement)
            if len(window) >= size:
                yield window
                window = []
    except Exception:  # from a bad row or the caller's iterator; the rows before it are still yielded
        if window:
            yield window
        raise
    if window:
        yield window


def _statements(
    rows: Iterable[Row],
    names: Mapping[str, str],
    on_rejected: OnRejected | None,
    convert: Converter,
    reads: Mapping[str, str],
) -> Iterator[Statement]:
    without = Counter[str]()
    for number, row in enumerate(rows, start=1):
        indra = not _has_roles(row, names) and is_statement(row)
        records = _from_indra(row, number, convert, without) if indra else [as_statement(row, number, names)]
        for record in (_complete(record, row, number, reads) for record in records):
            if isinstance(record, Statement):
                yield record
            elif on_rejected:
                on_rejected(record)
            else:
                raise UserError(f"row {number}: {record.reason}; mend it, or go on without: on_rejected=print")
    if without:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in without.most_common())
        advice = "; complexes='pairs' pairs the members of a Complex" if "Complex" in without else ""
        warnings.warn(f"INDRA statements or evidences without a row: {reasons}{advice}", stacklevel=2)


def _complete(record: Statement | Rejection, row: Any, number: int, reads: Mapping[str, str]) -> Statement | Rejection:
    """Returns the record, or a Rejection in place of a statement that lacks a column which the model reads."""
    if isinstance(record, Statement):
        for name, key in reads.items():
            if name not in record.extra:
                return _rejection(row, number, f"no {name!r}, which the model reads ({key} names another)")
    return record


def _has_roles(row: Any, names: Mapping[str, str]) -> bool:
    """Returns whether a row names a source or a target, or is a tuple or a Statement, and so is no INDRA statement."""
    if isinstance(row, Mapping):
        return names["source"] in row or names["target"] in row
    return isinstance(row, Statement | tuple)


def _from_indra(row: Any, number: int, convert: Converter, without: Counter[str]) -> Iterator[Statement | Rejection]:
    """Yields the rows of an INDRA statement. Counts in `without`, by reason, what gives no row although it is sound."""
    try:
        for record in convert(row if isinstance(row, Mapping) else row.to_json()):
            if isinstance(record, Skipped):
                without[record.reason] += 1
            elif isinstance(record, Fault):
                yield _rejection(row, number, record.reason)
            else:
                yield record
    except UnusableError as error:
        yield _rejection(row, number, str(error))


def role_names(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the rows' name for each role. Raises UserError if `columns` has an unknown role."""
    if unknown := set(columns or {}) - set(ROLES):
        raise UserError(f"columns: no such role {sorted(unknown)}; there are {list(ROLES)}")
    return {role: role for role in ROLES} | dict(columns or {})


def as_statement(row: Row, number: int, names: Mapping[str, str]) -> Statement | Rejection:
    """Returns a row as a Statement, or a Rejection if it cannot be used."""
    if isinstance(row, Statement):
        parts, extra = [row.source, row.target, row.evidence], row.extra
    elif (named := _as_mapping(row)) is not None:
        if missing := [name for name in names.values() if name not in named]:
            return _rejection(row, number, f"no {missing[0]!r}")
        parts = [named[name] for name in names.values()]
        extra = {key: value for key, value in named.items() if key not in names.values()}
    elif isinstance(row, Sequence) and not isinstance(row, str | bytes):
        if len(row) != len(ROLES):
            return _rejection(row, number, f"{len(row)} values; a tuple is (source, target, evidence)")
        parts, extra = list(row), {}
    else:
        return _rejection(row, number, f"a {type(row).__name__}, not a dictionary, a tuple of three or a Statement")
    for name, value in zip(names.values(), parts, strict=True):
        if reason := _value_problem(value):
            return _rejection(row, number, f"{name!r} {reason}")
    source, target, evidence = parts
    return Statement(source, target, evidence, extra)


def _as_mapping(row: Any) -> Mapping[str, Any] | None:
    """Returns a row with named columns as a mapping, else None.

    Such are mappings, named tuples (DataFrame.itertuples) and rows of databases.
    """
    if isinstance(row, Mapping):
        return row
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return dict(zip(row._fields, row, strict=True))
    if isinstance(row, Sequence) and callable(getattr(row, "keys", None)):
        return dict(zip(row.keys(), row, strict=True))  # type: ignore[attr-defined]
    return None


def _value_problem(value: Any) -> str | None:
    """Returns why a value is no text, in words; None if it is one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has half a surrogate pair, which is no character"
        return None
    # pandas marks missing values by None, NaN, NaT or NA.
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and isnan(value)):
        return "is null"
    return f"is of type {type(value).__name__}, not a text"


def _rejection(row: Any, number: int, reason: str) -> Rejection:
    return Rejection("rows", reason, repr(row).encode("utf-8", "backslashreplace")[:RAW_LIMIT], row=number)


def is_frame(rows: Any) -> bool:
    """Returns whether this is a pandas DataFrame, without importing pandas."""
    return hasattr(rows, "iloc") and any(kind.__name__ == "DataFrame" for kind in type(rows).__mro__)


def frame_rows(frame: Any, columns: Mapping[str, str] | None, reads: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yields a DataFrame's rows. Raises UserError if a column is missing that is read, or one of the three is there
    twice.
    """
    names = list(frame.columns)
    check_columns(reads, names, "the data frame")
    for name in role_names(columns).values():
        if names.count(name) != 1:
            found = "no column" if name not in names else "more than one column"
            raise UserError(f"the data frame has {found} {name!r}; there are {names}. Name yours with columns=")
    return (dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None))
