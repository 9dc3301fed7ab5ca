"""Parquet's values survive the way through Python, whatever their type."""

import datetime
import decimal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_parquet

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Source
from stonkgs.source.parquet import ParquetSource
from stonkgs.statement import Rejection, Statement
from stonkgs.tables.columns import as_columns
from stonkgs.tables.types import exact_values

Read = Callable[[Source, int], list[Statement | Rejection]]

TIME = 1_234_567_890_123_456_789
COLUMNS = {
    "null": pa.nulls(3),
    "bool": pa.array([True, None, False]),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "float32": pa.array([1.1, None, float("inf")], pa.float32()),
    "float64": pa.array([0.1, None, -0.0]),
    "float16": pa.array([np.float16(1.1), None, np.float16(2)], pa.float16()),
    "string": pa.array(["é😀", None, ""]),
    "large_string": pa.array(["a", None, ""], pa.large_string()),
    "string_view": pa.array(["a", None, "b" * 40], pa.string_view()),
    "dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "binary": pa.array([b"\xff", None, b""]),
    "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "timestamp_ns": pa.array([TIME, None, -1], pa.timestamp("ns")),
    "timestamp_us": pa.array([TIME, None, -TIME], pa.timestamp("us", "Europe/Berlin")),
    "timestamp_ms": pa.array([1, None, 2**60], pa.timestamp("ms")),
    "duration": pa.array([TIME, None, -1], pa.duration("ns")),
    "time64": pa.array([86_399_999_999_999, None, 1], pa.time64("ns")),
    "time32": pa.array([5, None, 1], pa.time32("ms")),
    "date": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1, 1, 1)]),
    "decimal": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-99999999999999999999.99")]),
    "list": pa.array([["a", None], None, []]),
    "list_time": pa.array([[TIME, None], None, []], pa.list_(pa.timestamp("ns"))),
    "struct": pa.array([{"a": 1, "b": [1.5]}, None, {"a": None, "b": None}]),
    "struct_time": pa.StructArray.from_arrays(
        [pa.array([1, None, 3], pa.time64("ns")), pa.array([1, 2, None])], ["t", "n"]
    ),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "map_time": pa.array([[("a", TIME)], None, []], pa.map_(pa.string(), pa.timestamp("ns"))),
    "binary_view": pa.array([b"a", None, b"b" * 40], pa.binary_view()),
    "views": pa.array(
        [[{"m": [("a", [b"x"])]}, None], None, []],
        pa.large_list(pa.struct([("m", pa.map_(pa.string_view(), pa.list_(pa.binary_view(), 1)))])),
    ),
    "list_view": pa.array([["a", None], None, []], pa.list_view(pa.string())),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    ),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
    "uuid": pa.array([b"a" * 16, None, b"b" * 16], pa.uuid()),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_make_the_column_again(tmp_path: Path, read: Read, name: str) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, pa.table({**{role: ["a", "b", "c"] for role in ROLES}, "x": COLUMNS[name]}))
    source = ParquetSource(path=str(path))
    records = read(source, 2)
    plan = source.plan()
    field = plan.schema.field("x")
    found = [record.extra["x"] for record in records if isinstance(record, Statement)]
    assert pa.array(found, type=field.type).equals(pq.read_table(path)["x"].combine_chunks().cast(field.type))
    assert all(item.is_valid for item in found if isinstance(item, pa.Scalar))


@pytest.mark.parametrize("text", [pa.string_view(), pa.list_(pa.string_view())], ids=str)
def test_views_are_taken_and_need_not_be_utf8(tmp_path: Path, read: Read, text: pa.DataType) -> None:
    path = tmp_path / "rows.parquet"
    given = ["good", "bad!", "long" * 9]
    column = pa.array(given if text == pa.string_view() else [[item] for item in given], text)
    content = pa.table({**{role: ["a", "b", "c"] for role in ROLES}, "x": column})
    pq.write_table(content, path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"bad!", b"\xffad!"))
    source = ParquetSource(path=str(path))
    kept, rejected, long = read(source, 9)
    assert isinstance(rejected, Rejection)
    assert rejected.reason == "not UTF-8: 'x'"
    plan = source.plan()
    rows = as_columns([kept, long], plan.schema, source.columns)  # type: ignore[list-item]
    assert rows.take(pa.array([1]))["x"].to_pylist() == [column[2].as_py()]


REFUSED = {
    "list of dictionaries": pa.ListArray.from_arrays([0, 1], pa.array(["a"]).dictionary_encode()),
    "struct of dictionaries": pa.StructArray.from_arrays([pa.array(["a"]).dictionary_encode()], ["d"]),
    "list_view of views": pa.array([["a"]], pa.list_view(pa.string_view())),
    "list of extensions": pa.ListArray.from_arrays([0, 1], pa.array([b"a" * 16], pa.uuid())),
    "names twice": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
    "names twice, within": pa.ListArray.from_arrays(
        [0, 1], pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_pass_is_refused_at_planning(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({**{role: ["a"] for role in ROLES}, "odd": REFUSED[name]}), path)
    with pytest.raises(UserError, match=r"rows\.parquet: column 'odd' is .*not supported \(.+\); convert it") as error:
        ParquetSource(path=str(path)).plan(1)
    assert "\n" not in str(error.value)


def test_plain_types_give_plain_values() -> None:
    for name in ("bool", "uint64", "float64", "string", "dictionary", "binary", "list", "struct", "map"):
        assert exact_values(COLUMNS[name]) == COLUMNS[name].to_pylist()
        assert not any(isinstance(item, pa.Scalar) for item in exact_values(COLUMNS[name]))
