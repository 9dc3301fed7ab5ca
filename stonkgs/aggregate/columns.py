"""The columns of predictions that are made use of, and those of statements that come of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from stonkgs.aggregate.predictions import Predictions
from stonkgs.columns import is_json, json_field
from stonkgs.errors import UserError
from stonkgs.source.arrow import is_text, stored

#: What a statement is passed through with: of several values among its evidences, the smallest.
PASSED: Final = ("source", "target", "stmt_type", "belief")
#: Columns whose type is known, also where a file has them as text. A double does not hold all hashes.
TYPES: Final = {"stmt_hash": pa.int64(), "belief": pa.float64()}
#: What evidences come to, a column a class each.
MEASURES: Final = ("noisy_or", "mean", "max")
#: So many of a file's columns are named in a message.
SHOWN = 30


class MisfitError(ValueError):
    """A value that is none of its column's type."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that statements have from their evidences."""

    #: as it comes out
    field: pa.Field

    @classmethod
    def of(cls, field: pa.Field) -> Self | None:
        """From a file's column; None where its values have no order."""
        type_ = stored(pa.nulls(0, field.type)).type
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
        type_, column = self.field.type, stored(column)
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

    #: what is read of the predictions: keys, probabilities, passed
    wanted: pa.Schema
    keys: tuple[Column, ...]
    labels: tuple[str, ...]
    passed: tuple[Column, ...]

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
        passed = [name for name in PASSED if name in schema.names and name not in by and name not in classes]
        for name in (*by, *classes, *passed):
            if name not in schema.names:
                raise UserError(f"{place}: has no column {name!r}; there are {_shown(schema.names)}")
            if schema.names.count(name) > 1:
                raise UserError(f"{place}: has several columns {name!r}; rename all but one")
        fields = [schema.field(name) for name in by] + [pa.field(name, pa.float64()) for name in classes]
        found = [(field, column) for name in passed if (column := Column.of(field := schema.field(name)))]
        made = cls(
            wanted=pa.schema([*fields, *(field for field, _ in found)]),
            keys=tuple(_key(place, schema.field(name)) for name in by),
            labels=tuple(predictions.classes),
            passed=tuple(column for _, column in found),
        )
        if twice := _twice(made.schema.names):
            raise UserError(f"{place}: statements would have several columns {twice[0]!r}; choose others with --by")
        return made

    @property
    def key(self) -> str:
        """The keys' names."""
        return " and ".join(column.field.name for column in self.keys)

    @property
    def schema(self) -> pa.Schema:
        """Columns of statements."""
        measures = [pa.field(f"{label}_{name}", pa.float64()) for label in self.labels for name in MEASURES]
        counted = [pa.field("evidences", pa.int64()), *measures, pa.field("prediction", pa.string())]
        return pa.schema([*(column.field for column in self.keys), *counted, *(column.field for column in self.passed)])


def _key(place: object, field: pa.Field) -> Column:
    column = Column.of(field)
    if column is None:
        raise UserError(
            f"{place}: column {field.name!r} has lists, objects or values of several kinds ({field.type}), "
            "which tell no statements apart; choose others with --by"
        )
    if types.is_floating(field.type) and field.name in TYPES and types.is_integer(TYPES[field.name]):
        raise UserError(
            f"{place}: column {field.name!r} is {field.type}, which does not hold all hashes of 64 bits; "
            "write it as whole numbers or as text, and predict again"
        )
    return column


def _twice(names: Sequence[str]) -> list[str]:
    return [name for number, name in enumerate(names) if name in names[:number]]


def _shown(names: Iterable[str]) -> str:
    """Names for a message, of which there may be many."""
    listed = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else "")
