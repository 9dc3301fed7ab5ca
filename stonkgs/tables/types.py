"""Arrow columns to Python values and back without loss, and the columns for which that is impossible."""

from typing import Any

import pyarrow as pa
from pyarrow import types


class Undecodable(str):
    """Stands for a text that is not UTF-8: its bytes with backslash escapes."""


def exact_values(column: pa.Array) -> list[Any]:
    """Returns a column's values, from which pa.array(values, type=column.type) makes the same column.

    They are Python values where Python has an exact type, and pyarrow's scalars elsewhere: Arrow's timestamps, for
    example, have a wider range and a finer resolution than datetime.
    """
    return column.to_pylist() if _is_exact(column.type) else [_exact(scalar) for scalar in column]


def _is_exact(type_: pa.DataType) -> bool:
    """Returns whether Python's types hold every value of an Arrow type."""
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    if types.is_nested(type_):
        return all(_is_exact(type_.field(number).type) for number in range(type_.num_fields))
    numbers = (types.is_null, types.is_boolean, types.is_integer, types.is_float32, types.is_float64)
    return any(test(type_) for test in (*numbers, is_text, _is_binary))


def _exact(scalar: pa.Scalar) -> Any:
    """Returns a scalar; for a nested one a Python value with scalars in it, as pa.array takes no nested scalars."""
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
    """Returns whether a column of this type holds text, also as a dictionary."""
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    return any(test(type_) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _is_binary(type_: pa.DataType) -> bool:
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(type_) for test in tests)


def storage(column: pa.Array) -> pa.Array:
    """Returns the column as it is stored: without an extension type, and with a dictionary decoded.

    A bad entry of a dictionary would make every row suspect.
    """
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def is_utf8(column: pa.Array) -> bool:
    """Returns whether a column's texts are UTF-8. Parquet demands it, but readers do not check."""
    if not is_text(column.type) and not types.is_nested(column.type):
        return True  # validate would also refuse impossible times, which are passed on unchanged
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def checked_values(column: pa.Array) -> list[Any]:
    """Returns the values of a column in which some texts are not UTF-8: Undecodable for these."""
    # A slice of a nested column keeps the texts of all rows, and a bad one would condemn every row.
    nested = types.is_nested(column.type)
    singles = (column.take(pa.array([row])) if nested else column.slice(row, 1) for row in range(len(column)))
    return [exact_values(single)[0] if is_utf8(single) else _shown(single) for single in singles]


def _shown(single: pa.Array) -> Undecodable:
    if not is_text(single.type):
        return Undecodable(f"({single.type} that is not UTF-8)")
    return Undecodable(single.cast(pa.large_binary())[0].as_py().decode("utf-8", "backslashreplace"))


def without_views(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with plain texts and bytes for views, from which Arrow cannot take single rows."""
    return pa.schema([_field_without_views(field) for field in schema], schema.metadata)


def _field_without_views(field: pa.Field) -> pa.Field:
    type_ = field.type
    if types.is_string_view(type_):
        type_ = pa.large_string()
    elif types.is_binary_view(type_):
        type_ = pa.large_binary()
    elif types.is_struct(type_):
        type_ = pa.struct([_field_without_views(child) for child in type_])
    elif types.is_map(type_):
        type_ = pa.map_(
            _field_without_views(type_.key_field), _field_without_views(type_.item_field), type_.keys_sorted
        )
    elif types.is_list(type_):
        type_ = pa.list_(_field_without_views(type_.value_field))
    elif types.is_large_list(type_):
        type_ = pa.large_list(_field_without_views(type_.value_field))
    elif types.is_fixed_size_list(type_):
        type_ = pa.list_(_field_without_views(type_.value_field), type_.list_size)
    return field.with_type(type_)


def unsupported_reason(type_: pa.DataType, depth: int = 0) -> str | None:
    """Returns why a column of this type cannot be passed through, None where it can.

    Arrow reports most of these types only when it meets a row, which would be in the middle of a run.
    """
    if types.is_dictionary(type_) and depth:
        return "Arrow does not read a nested dictionary from several row groups"
    if types.is_string_view(type_) or types.is_binary_view(type_):
        return "Arrow cannot take rows of it"
    children = [type_.field(number) for number in range(type_.num_fields)]
    if len({child.name for child in children}) < len(children):
        return "several fields have one name"
    for child in children:
        if reason := unsupported_reason(child.type, depth + 1):
            return reason
    try:
        pa.array(exact_values(pa.nulls(1, type_)), type_).take(pa.array([0]))
    except (pa.ArrowException, TypeError) as error:
        return str(error).splitlines()[0]
    return None
