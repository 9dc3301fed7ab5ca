"""The columns of predictions that are made use of, and those of statements that come of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from stonkgs.aggregate.predictions import Predictions
from stonkgs.errors import UserError
from stonkgs.tables.columns import HOLDS, is_json, json_field
from stonkgs.tables.damage import MisfitError
from stonkgs.tables.types import is_text, storage

#: What a statement is passed through with: of several values among its rows, the smallest; of NODES the smallest pair.
PASSED: Final = ("source", "target", "stmt_type", "belief")
NODES: Final = ("source", "target")
#: What tells the evidences of a statement apart: INDRA gives a statement of several edges a row an edge and evidence.
EVIDENCE: Final = "source_hash"
#: Columns whose type is known, also where a file has them as text. A double does not hold all hashes.
TYPES: Final = {"stmt_hash": pa.int64(), "belief": pa.float64()}
#: What evidences come to, a column a class each.
MEASURES: Final = ("noisy_or", "mean", "max")
#: So many of a file's columns are named in a message.
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Column:
    """A column that statements have from their evidences."""

    #: as it comes out
    field: pa.Field

    @classmethod
    def of(cls, field: pa.Field) -> Self | None:
        """From a file's column; None where its values have no order."""
        type_ = storage(pa.nulls(0, field.type)).type
        if is_text(type_) or types.is_null(type_):
            type_ = pa.string()
        elif types.is_float16(type_):
            type_ = pa.float32()
        tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal128, types.is_temporal)
        if not (is_text(type_) or any(test(type_) for test in tests)) or types.is_interval(type_):
            return None
        return cls(json_field(field.name) if is_json(field) else pa.field(field.name, TYPES.get(field.name, type_)))

    def enter(self, column: pa.Array) -> pa.Array:
        """A batch of the file's column as DuckDB takes it: times as whole numbers, null for what is no value.

        No value is the empty text, which is all that a TSV knows of null, and NaN, which is pandas' null.
        """
        type_, column = self.field.type, storage(column)
        if is_text(column.type):
            column.validate(full=True)  # Parquet and JSON promise UTF-8, and no reader checks
            column = column.cast(pa.string())
            column = pc.if_else(pc.equal(column, ""), None, column)
        try:
            column = column.cast(type_)
        except pa.ArrowInvalid as error:
            raise MisfitError(
                f"column {self.field.name!r}, which is to be {type_}: {error}; rename it if it is something else"
            ) from error
        if types.is_floating(type_):
            return pc.if_else(pc.is_nan(column), None, pc.add(column, pa.scalar(0.0, type_)))  # -0.0 is 0.0
        return column.view(_whole(type_)) if types.is_temporal(type_) else column

    def leave(self, column: pa.Array) -> pa.Array:
        """The same out of DuckDB."""
        type_ = self.field.type
        return column.view(type_) if types.is_temporal(type_) else column.cast(type_)


def _whole(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if type_.bit_width == 32 else pa.int64()


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of statements: `keys`, by which rows are of one, what is said of their evidences, and `passed`."""

    #: what is read of the predictions: see `columns`
    wanted: pa.Schema
    keys: tuple[Column, ...]
    #: those of the classes, `labels`
    probabilities: tuple[Column, ...]
    labels: tuple[str, ...]
    passed: tuple[Column, ...]
    #: rows of a statement that agree in it are of one evidence; None where each row is one
    evidence: Column | None

    @classmethod
    def of(cls, predictions: Predictions, schema: pa.Schema, by: Sequence[str]) -> Self:
        """For files of such columns. UserError where one is absent, is twice there, or fits no statement."""
        place, classes = predictions.path, list(predictions.classes.values())
        if isinstance(by, str):
            raise UserError(f"by={by!r}: must be a list of names")
        if not by or not classes:
            raise UserError(f"{place}: needs a column that tells statements apart, and one of probabilities")
        if twice := _twice([*by, *classes]):
            raise UserError(f"{place}: column {twice[0]!r} is named twice by --by and the classes")
        there = [name for name in (*PASSED, EVIDENCE) if name in schema.names and name not in (*by, *classes)]
        _check_names(place, schema, (*by, *classes, *there))
        found = {name: column for name in there if (column := Column.of(schema.field(name)))}
        evidence = found.pop(EVIDENCE, None)
        if evidence and not (is_text(evidence.field.type) or types.is_integer(evidence.field.type)):
            evidence = None  # somebody's own
        names = [*by, *([EVIDENCE] if evidence else []), *classes, *found]
        made = cls(
            wanted=pa.schema([schema.field(name) for name in names]),
            keys=tuple(_key(place, schema.field(name)) for name in by),
            probabilities=tuple(_probability(place, schema.field(name)) for name in classes),
            labels=tuple(predictions.classes),
            passed=tuple(found.values()),
            evidence=evidence,
        )
        if twice := _twice(made.schema.names):
            raise UserError(f"{place}: statements would have several columns {twice[0]!r}; choose others with --by")
        return made

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns: those that rows are sorted by are first, keys, evidence and probabilities."""
        evidence = (self.evidence,) if self.evidence else ()
        return (*self.keys, *evidence, *self.probabilities, *self.passed)

    @property
    def probable(self) -> slice:
        """Where in `columns` the probabilities are."""
        first = len(self.keys) + (self.evidence is not None)
        return slice(first, first + len(self.probabilities))

    @property
    def key(self) -> str:
        """The keys' names."""
        return " and ".join(column.field.name for column in self.keys)

    @property
    def pair(self) -> bool:
        """Whether both NODES are passed on, which then are the first two."""
        return tuple(column.field.name for column in self.passed[:2]) == NODES

    @property
    def schema(self) -> pa.Schema:
        """Columns of statements."""
        measures = [pa.field(f"{label}_{name}", pa.float64()) for label in self.labels for name in MEASURES]
        counted = [pa.field("evidences", pa.int64()), *measures, pa.field("prediction", pa.string())]
        return pa.schema([*(column.field for column in self.keys), *counted, *(column.field for column in self.passed)])


def _check_names(place: object, schema: pa.Schema, names: Iterable[str]) -> None:
    for name in names:
        if name not in schema.names:
            raise UserError(f"{place}: has no column {name!r}; there are {_shown(schema.names)}")
        if schema.names.count(name) > 1:
            raise UserError(f"{place}: has several columns {name!r}; rename all but one")


def _key(place: object, field: pa.Field) -> Column:
    column = Column.of(field)
    if column is None:
        raise UserError(
            f"{place}: column {field.name!r} holds {_held(field)}, which tell no statements apart; "
            "choose others with --by"
        )
    if types.is_floating(field.type) and field.name in TYPES and types.is_integer(TYPES[field.name]):
        raise UserError(
            f"{place}: column {field.name!r} is {field.type}, which does not hold all hashes of 64 bits; "
            "write it as whole numbers or as text, and predict again"
        )
    return column


def _probability(place: object, field: pa.Field) -> Column:
    column = Column.of(field)
    if column is None or types.is_temporal(column.field.type):
        raise UserError(f"{place}: column {field.name!r} holds {_held(field)}, not probabilities")
    return Column(field if types.is_float32(field.type) else pa.field(field.name, pa.float64()))


def _held(field: pa.Field) -> str:
    """What a column has that is good for nothing here, in words."""
    kinds: bytes = (field.metadata or {}).get(HOLDS, str(field.type).encode())
    return kinds.decode()


def _twice(names: Sequence[str]) -> list[str]:
    return [name for number, name in enumerate(names) if name in names[:number]]


def _shown(names: Iterable[str]) -> str:
    """Names for a message, of which there may be many."""
    listed = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else "")
