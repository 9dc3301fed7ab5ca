"""What Arrow's types can and cannot do: values that are exact, texts that are UTF-8, columns that pass through."""

from typing import Any

import pyarrow as pa
from pyarrow import types


class Undecodable(str):
    """What stands for a cell that is not UTF-8: its bytes with backslash escapes."""


def values(column: pa.Array) -> list[Any]:
    """A column's values, of which pa.array(values, type=column.type) makes the column again.

    Plain Python values where they are exact; pyarrow's scalars for what Python has no exact type for, such as
    timestamps, which reach further and are finer than datetime.
    """
    return column.to_pylist() if _is_exact(column.type) else [_exact(scalar) for scalar in column]


def _is_exact(type_: pa.DataType) -> bool:
    """Whether Python's own types hold every value of this one."""
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    if types.is_nested(type_):
        return all(_is_exact(type_.field(number).type) for number in range(type_.num_fields))
    numbers = (types.is_null, types.is_boolean, types.is_integer, types.is_float32, types.is_float64)
    return any(test(type_) for test in (*numbers, is_text, _is_binary))


def _exact(scalar: pa.Scalar) -> Any:
    """A scalar, or for a nested one a Python value with scalars in it: pa.array takes no nested scalars."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.MapScalar):
        return [(_exact(item["key"]), _exact(item["value"])) for item in scalar.values]
    if isinstance(scalar, pa.ListScalar):
        return [_exact(item) for item in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _exact(item) for name, item in scalar.items()}
    return scalar.as_py() if _is_exact(scalar.type) else scalar


def is_text(type_: pa.DataType) -> bool:
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    return any(test(type_) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _is_binary(type_: pa.DataType) -> bool:
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(type_) for test in tests)


def stored(column: pa.Array) -> pa.Array:
    """The column without an extension, whose type makes it again from what is stored, and without a dictionary: one
    bad entry there would make every row suspect.
    """
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def is_sound(column: pa.Array) -> bool:
    """Whether the texts are UTF-8. Parquet promises it, and no reader checks."""
    if not is_text(column.type) and not types.is_nested(column.type):
        return True  # Arrow would also find times that no day has, which are passed on as they are
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def cells(column: pa.Array) -> list[Any]:
    """The values of a column in which some are not UTF-8."""
    # A slice of a list keeps all of the texts, and would be judged by all of them.
    nested = types.is_nested(column.type)
    singles = (column.take(pa.array([row])) if nested else column.slice(row, 1) for row in range(len(column)))
    return [values(single)[0] if is_sound(single) else _shown(single) for single in singles]


def _shown(single: pa.Array) -> Undecodable:
    if not is_text(single.type):
        return Undecodable(f"({single.type} that is not UTF-8)")
    return Undecodable(single.cast(pa.large_binary())[0].as_py().decode("utf-8", "backslashreplace"))


def as_read(schema: pa.Schema) -> pa.Schema:
    """The schema without views, of which Arrow cannot take single rows."""
    return pa.schema([_without_views(field) for field in schema], schema.metadata)


def _without_views(field: pa.Field) -> pa.Field:
    type_ = field.type
    if types.is_string_view(type_):
        type_ = pa.large_string()
    elif types.is_binary_view(type_):
        type_ = pa.large_binary()
    elif types.is_struct(type_):
        type_ = pa.struct([_without_views(child) for child in type_])
    elif types.is_map(type_):
        type_ = pa.map_(_without_views(type_.key_field), _without_views(type_.item_field), type_.keys_sorted)
    elif types.is_list(type_):
        type_ = pa.list_(_without_views(type_.value_field))
    elif types.is_large_list(type_):
        type_ = pa.large_list(_without_views(type_.value_field))
    elif types.is_fixed_size_list(type_):
        type_ = pa.list_(_without_views(type_.value_field), type_.list_size)
    return field.with_type(type_)


def obstacle(type_: pa.DataType, depth: int = 0) -> str | None:
    """Why a column cannot pass through, None where it can. Most of it Arrow finds out only when it meets a row."""
    if types.is_dictionary(type_) and depth:
        return "Arrow does not read a nested dictionary from several row groups"
    if types.is_string_view(type_) or types.is_binary_view(type_):
        return "Arrow cannot take rows of it"
    children = [type_.field(number) for number in range(type_.num_fields)]
    if len({child.name for child in children}) < len(children):
        return "several fields have one name"
    for child in children:
        if reason := obstacle(child.type, depth + 1):
            return reason
    try:
        pa.array(values(pa.nulls(1, type_)), type_).take(pa.array([0]))
    except (pa.ArrowException, TypeError) as error:
        return str(error).splitlines()[0]
    return None
