"""Chooses the columns that are read of predictions, and the columns of statements that are made from them."""

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

#: Columns that are passed on to statements. If rows differ, the smallest value is taken, of NODES the smallest pair.
PASSED: Final = ("source", "target", "stmt_type", "belief")
NODES: Final = ("source", "target")
#: The column that identifies an evidence. INDRA statements with several edges have a row per edge and evidence.
EVIDENCE: Final = "source_hash"
#: Columns whose type is known even if a file has them as text. Hashes are integers: a double cannot hold all of them.
TYPES: Final = {"stmt_hash": pa.int64(), "belief": pa.float64()}
#: What is computed over evidences: for each class a column each.
MEASURES: Final = ("noisy_or", "mean", "max")
#: How many of a file's columns a message names.
MAX_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Column:
    """A column of predictions that statements keep or are computed from."""

    #: its name and type in the output
    field: pa.Field

    @classmethod
    def of(cls, field: pa.Field) -> Self | None:
        """Returns the column for a file's column, or None if its values cannot be ordered."""
        type_ = storage(pa.nulls(0, field.type)).type
        if is_text(type_) or types.is_null(type_):
            type_ = pa.string()
        elif types.is_float16(type_):
            type_ = pa.float32()
        tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal128, types.is_temporal)
        if not (is_text(type_) or any(test(type_) for test in tests)) or types.is_interval(type_):
            return None
        return cls(json_field(field.name) if is_json(field) else pa.field(field.name, TYPES.get(field.name, type_)))

    def to_sortable(self, column: pa.Array) -> pa.Array:
        """Convert a batch of the file's column for DuckDB: times become integers, missing values null.

        Missing are the empty text, which is null in a TSV, and NaN, which is null in pandas. Raises MisfitError if a
        value does not fit the type.
        """
        type_, column = self.field.type, storage(column)
        if is_text(column.type):
            column.validate(full=True)  # the readers do not check that text is UTF-8
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

    def from_sortable(self, column: pa.Array) -> pa.Array:
        """Convert back what `to_sortable` made."""
        type_ = self.field.type
        return column.view(type_) if types.is_temporal(type_) else column.cast(type_)


def _whole(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if type_.bit_width == 32 else pa.int64()


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are read of predictions, by what they are used for."""

    #: all columns that are read, in the order of `columns`
    wanted: pa.Schema
    #: rows that agree in these belong to one statement
    keys: tuple[Column, ...]
    #: probabilities, one column for each of `labels`
    probabilities: tuple[Column, ...]
    labels: tuple[str, ...]
    #: columns that are passed on to statements
    passed: tuple[Column, ...]
    #: rows of a statement that agree in this belong to one evidence; None if each row is an evidence
    evidence: Column | None

    @classmethod
    def of(cls, predictions: Predictions, schema: pa.Schema, by: Sequence[str]) -> Self:
        """Returns the layout of such files. Raises UserError for a column that is missing, ambiguous or unfit."""
        path, classes = predictions.path, list(predictions.classes.values())
        if isinstance(by, str):
            raise UserError(f"by={by!r}: must be a list of names")
        if not by or not classes:
            raise UserError(f"{path}: needs a column that tells statements apart, and one of probabilities")
        if duplicates := _duplicates([*by, *classes]):
            raise UserError(f"{path}: column {duplicates[0]!r} is named twice by --by and the classes")
        there = [name for name in (*PASSED, EVIDENCE) if name in schema.names and name not in (*by, *classes)]
        _check_names(path, schema, (*by, *classes, *there))
        found = {name: column for name in there if (column := Column.of(schema.field(name)))}
        evidence = found.pop(EVIDENCE, None)
        if evidence and not (is_text(evidence.field.type) or types.is_integer(evidence.field.type)):
            evidence = None  # not INDRA's column, though it has the name
        names = [*by, *([EVIDENCE] if evidence else []), *classes, *found]
        made = cls(
            wanted=pa.schema([schema.field(name) for name in names]),
            keys=tuple(_key(path, schema.field(name)) for name in by),
            probabilities=tuple(_probability(path, schema.field(name)) for name in classes),
            labels=tuple(predictions.classes),
            passed=tuple(found.values()),
            evidence=evidence,
        )
        if duplicates := _duplicates(made.schema.names):
            raise UserError(f"{path}: statements would have several columns {duplicates[0]!r}; choose others with --by")
        return made

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns. Rows are sorted by the first ones: keys, evidence and probabilities."""
        evidence = (self.evidence,) if self.evidence else ()
        return (*self.keys, *evidence, *self.probabilities, *self.passed)

    @property
    def probability_slice(self) -> slice:
        """The positions of the probabilities in `columns`."""
        first = len(self.keys) + (self.evidence is not None)
        return slice(first, first + len(self.probabilities))

    @property
    def key(self) -> str:
        """The keys' names, for messages."""
        return " and ".join(column.field.name for column in self.keys)

    @property
    def pair(self) -> bool:
        """Whether both NODES are passed on. They are then the first two of `passed`."""
        return tuple(column.field.name for column in self.passed[:2]) == NODES

    @property
    def schema(self) -> pa.Schema:
        """The columns of statements."""
        measures = [pa.field(f"{label}_{name}", pa.float64()) for label in self.labels for name in MEASURES]
        counted = [pa.field("evidences", pa.int64()), *measures, pa.field("prediction", pa.string())]
        return pa.schema([*(column.field for column in self.keys), *counted, *(column.field for column in self.passed)])


def _check_names(path: object, schema: pa.Schema, names: Iterable[str]) -> None:
    for name in names:
        if name not in schema.names:
            raise UserError(f"{path}: has no column {name!r}; there are {_name_list(schema.names)}")
        if schema.names.count(name) > 1:
            raise UserError(f"{path}: has several columns {name!r}; rename all but one")


def _key(path: object, field: pa.Field) -> Column:
    column = Column.of(field)
    if column is None:
        raise UserError(
            f"{path}: column {field.name!r} holds {_content(field)}, which tell no statements apart; "
            "choose others with --by"
        )
    if types.is_floating(field.type) and field.name in TYPES and types.is_integer(TYPES[field.name]):
        raise UserError(
            f"{path}: column {field.name!r} is {field.type}, which does not hold all hashes of 64 bits; "
            "write it as whole numbers or as text, and predict again"
        )
    return column


def _probability(path: object, field: pa.Field) -> Column:
    column = Column.of(field)
    if column is None or types.is_temporal(column.field.type):
        raise UserError(f"{path}: column {field.name!r} holds {_content(field)}, not probabilities")
    return Column(field if types.is_float32(field.type) else pa.field(field.name, pa.float64()))


def _content(field: pa.Field) -> str:
    """Returns what a column of an unfit type holds, in words."""
    kinds: bytes = (field.metadata or {}).get(HOLDS, str(field.type).encode())
    return kinds.decode()


def _duplicates(names: Sequence[str]) -> list[str]:
    return [name for number, name in enumerate(names) if name in names[:number]]


def _name_list(names: Iterable[str]) -> str:
    """Returns names as they are listed in a message: the first ones, long ones cut."""
    listed = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(listed[:MAX_SHOWN]) + (f" and {len(listed) - MAX_SHOWN:,} more" if len(listed) > MAX_SHOWN else "")
