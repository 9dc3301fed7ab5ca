"""Parquet's values survive the way through Python, whatever their type."""

import datetime
import decimal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stonkgs.source.base import ROLES, Source
from stonkgs.source.parquet import ParquetSource, values
from stonkgs.statement import Rejection, Statement

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
    "uuid": pa.array([b"a" * 16, None, b"b" * 16], pa.uuid()),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_make_the_column_again(tmp_path: Path, read: Read, name: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({**{role: ["a", "b", "c"] for role in ROLES}, "x": COLUMNS[name]}), path)
    source = ParquetSource(path=str(path))
    records = read(source, 2)
    assert source.planned is not None
    field = source.planned.schema.field("x")
    found = [record.extra["x"] for record in records if isinstance(record, Statement)]
    assert pa.array(found, type=field.type).equals(pq.read_table(path)["x"].combine_chunks())
    assert all(item.is_valid for item in found if isinstance(item, pa.Scalar))


def test_plain_types_give_plain_values() -> None:
    for name in ("bool", "uint64", "float64", "string", "dictionary", "binary", "list", "struct", "map"):
        assert values(COLUMNS[name]) == COLUMNS[name].to_pylist()
        assert not any(isinstance(item, pa.Scalar) for item in values(COLUMNS[name]))
