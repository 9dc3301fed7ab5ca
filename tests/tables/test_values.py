"""Columns of odd types, from a Parquet file through the source to each format: nothing is lost, no text is a guess."""

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_parquet

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.parquet import ParquetSource
from stonkgs.statement import Statement
from stonkgs.tables.columns import as_columns, json_field
from stonkgs.tables.jsonl import Jsonl
from stonkgs.tables.parquet import Parquet
from stonkgs.tables.tsv import Tsv
from stonkgs.tables.values import check_writable, plain_values

NS = 1_234_567_890_123_456_789
INSTANT = "2009-02-13 23:31:30.123456789"
YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800


def nested(kind: pa.DataType, value: Any) -> pa.Array:
    """A value in a struct in a map in a list, from a slice: offsets do not start at 0."""
    whole = pa.list_(pa.map_(pa.string(), pa.struct([("v", kind)])))
    return pa.array([[[("no", {"v": None})]], [[("k", {"v": value}), ("n", None)], None]], whole).slice(1)


#: column, and what plain_values() makes of it
ODD: dict[str, tuple[pa.Array, list[Any]]] = {
    "ns": (pa.array([NS, None], pa.timestamp("ns")), [INSTANT, None]),
    "ns, ends": (
        pa.array([2**63 - 1, -(2**63) + 1], pa.timestamp("ns")),
        ["2262-04-11 23:47:16.854775807", "1677-09-21 00:12:43.145224193"],
    ),
    "us": (
        pa.array([YEAR_1 * 10**6, YEAR_1 * 10**6 - 1, YEAR_10000 * 10**6 - 1, YEAR_10000 * 10**6], pa.timestamp("us")),
        ["0001-01-01 00:00:00.000000", "-62135596800000001us", "9999-12-31 23:59:59.999999", "253402300800000000us"],
    ),
    "ms, far": (pa.array([2**62, -(2**62)], pa.timestamp("ms")), [f"{2**62}ms", f"-{2**62}ms"]),
    "UTC": (pa.array([0, None], pa.timestamp("ms", "UTC")), ["1970-01-01 00:00:00.000Z", None]),
    "Berlin": (
        pa.array([NS // 1000, -(2**61), YEAR_1 * 10**6], pa.timestamp("us", "Europe/Berlin")),
        ["2009-02-13 23:31:30.123456Z", f"-{2**61}us", "0001-01-01 00:00:00.000000Z"],
    ),
    "no such zone": (pa.array([1], pa.timestamp("us", "Nowhere/X")), ["1970-01-01 00:00:00.000001Z"]),
    "offset": (pa.array([1], pa.timestamp("ms", "+02:00")), ["1970-01-01 00:00:00.001Z"]),
    "date": (
        pa.array([18321, None, -719_162, -719_163, 2**31 - 1], pa.date32()),
        ["2020-02-29", None, "0001-01-01", "-719163d", "2147483647d"],
    ),
    "time32": (pa.array([1, None, 86_399_999], pa.time32("ms")), ["00:00:00.001", None, "23:59:59.999"]),
    "time64": (
        pa.array([86_399_999_999_999, 86_400_000_000_000], pa.time64("ns")),
        ["23:59:59.999999999", "86400000000000ns"],
    ),
    "duration": (pa.array([-1, None, 2**62], pa.duration("ns")), ["-1ns", None, f"{2**62}ns"]),
    "duration_ms": (pa.array([1500], pa.duration("ms")), ["1500ms"]),
    "decimal": (pa.array([Decimal("1.10"), None], pa.decimal128(38, 2)), ["1.10", None]),
    "decimal256": (pa.array([Decimal("9" * 70)], pa.decimal256(76, 0)), ["9" * 70]),
    "float16": (pa.array([np.float16(1.1), None], pa.float16()), [1.099609375, None]),
    "binary": (pa.array([b"a\xff", None], pa.binary()), ["a\\xff", None]),
    "string_view": (pa.array(["a", None, "b" * 40], pa.string_view()), ["a", None, "b" * 40]),
    "binary_view": (pa.array([b"\xff", None, b"b" * 40], pa.binary_view()), ["\\xff", None, "b" * 40]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "list_view": (pa.array([[NS], None, []], pa.list_view(pa.timestamp("ns"))), [[INSTANT], None, []]),
    "large_list": (pa.array([[NS], None, []], pa.large_list(pa.timestamp("ns"))), [[INSTANT], None, []]),
    "fixed_list": (
        pa.array([[0, NS], None, [None, 1]], pa.list_(pa.time64("ns"), 2)).slice(1),
        [None, [None, "00:00:00.000000001"]],
    ),
    "list, far": (
        pa.array([[2**60, None], [0]], pa.list_(pa.timestamp("ms"))),
        [[f"{2**60}ms", None], ["1970-01-01 00:00:00.000"]],
    ),
    "list of dates": (pa.array([[2**30, 0]], pa.list_(pa.date32())), [["1073741824d", "1970-01-01"]]),
    "list of views": (pa.array([["a", None], None], pa.list_(pa.string_view())), [["a", None], None]),
    "list of half floats": (pa.array([[np.float16(1.1)], None], pa.list_(pa.float16())), [[1.099609375], None]),
    "struct": (
        pa.StructArray.from_arrays(
            [pa.array([1, 2], pa.duration("us")), pa.array([b"\xff", b"b"])], ["d", "b"], mask=pa.array([False, True])
        ),
        [{"d": "1us", "b": "\\xff"}, None],
    ),
    "nested ns": (nested(pa.timestamp("ns"), NS), [[[("k", {"v": INSTANT}), ("n", None)], None]]),
    "nested ns duration": (nested(pa.duration("ns"), NS), [[[("k", {"v": f"{NS}ns"}), ("n", None)], None]]),
    "nested decimal": (nested(pa.decimal128(5, 2), Decimal("1.10")), [[[("k", {"v": "1.10"}), ("n", None)], None]]),
    "nested zone": (
        nested(pa.timestamp("s", "No/Such"), 0),
        [[[("k", {"v": "1970-01-01 00:00:00.000Z"}), ("n", None)], None]],
    ),
    "map": (
        pa.array([[("z", 0)], [(b"k", 1)], None, []], pa.map_(pa.binary(), pa.date32())).slice(1),
        [[("k", "1970-01-02")], None, []],
    ),
    "uuid": (pa.array([b"a" * 16, None], pa.uuid()), ["61616161-6161-6161-6161-616161616161", None]),
    "json": (pa.array(["[1]", None], pa.json_()), ["[1]", None]),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), [True, None]),
    "tensor": (
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2], None], pa.list_(pa.int32(), 2))
        ),
        [[1, 2], None],
    ),
    "null": (pa.nulls(2), [None, None]),
}
odd = pytest.mark.parametrize("name", ODD)


def passed(folder: Path, column: pa.Array) -> pa.Table:
    """A column as a writer gets it, after its way through a Parquet file and the source."""
    rows = pa.table({**{role: ["a"] * len(column) for role in ROLES}, "x": column})
    write_parquet(folder / "in.parquet", rows)
    source = ParquetSource(path=str(folder / "in.parquet"))
    plan = source.plan(2)
    check_writable(plan.schema)
    read = [record for split in plan for record in source.read(split, plan.schema) if isinstance(record, Statement)]
    batch = as_columns(read, plan.schema, source.columns)
    return pa.Table.from_batches([batch]).take(pa.array(range(len(column))))


def as_json(values: list[Any]) -> list[Any]:
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]


@odd
def test_jsonl(tmp_path: Path, name: str) -> None:
    column, expected = ODD[name]
    file = io.BytesIO()
    Jsonl().write(passed(tmp_path, column), file)
    assert [json.loads(line)["x"] for line in file.getvalue().splitlines()] == as_json(expected)


@odd
def test_tsv(tmp_path: Path, name: str) -> None:
    column, expected = ODD[name]
    file = io.BytesIO()
    Tsv().write(passed(tmp_path, column), file)
    cells = [row[3] for row in csv.reader(io.StringIO(file.getvalue().decode(), newline=""), delimiter="\t")][1:]
    texts = ["" if value is None else value if isinstance(value, str) else json.dumps(value) for value in expected]
    assert cells == texts


@odd
def test_parquet(tmp_path: Path, name: str) -> None:
    table = passed(tmp_path, ODD[name][0])
    given = pq.ParquetFile(tmp_path / "in.parquet").read()
    for part in (tmp_path / "0.parquet", tmp_path / "1.parquet"):
        with open(part, "wb") as file:
            Parquet().write(table, file)
    with open(tmp_path / "out.parquet", "wb") as file:
        Parquet().join(iter([tmp_path / "0.parquet", tmp_path / "1.parquet"]), table.schema, file)
    written = pq.ParquetFile(tmp_path / "out.parquet").read()
    expected = pa.concat_tables([given, given]).cast(table.schema)
    assert written.schema.equals(expected.schema)
    assert written.equals(expected)


def test_parts_in_folders_with_an_equals_sign_are_joined_to_row_groups_of_some_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stonkgs.tables.parquet.ROW_GROUP_ROWS", 10)
    folder = tmp_path / "seed=1"
    folder.mkdir()
    sizes = [4, 4, 4, 0, 25, 3]
    for number, rows in enumerate(sizes):
        pq.write_table(pa.table({"x": [number] * rows}, pa.schema([("x", pa.int64())])), folder / f"{number}.parquet")
    parts = (folder / f"{number}.parquet" for number in range(len(sizes)))
    with open(folder / "out.parquet", "wb") as file:
        Parquet().join(parts, pa.schema([("x", pa.int64())]), file)
    with pq.ParquetFile(folder / "out.parquet") as joined:
        groups = [joined.metadata.row_group(number).num_rows for number in range(joined.num_row_groups)]
        assert groups == [10, 2, 10, 10, 5, 3]
        assert joined.read()["x"].to_pylist() == [number for number, rows in enumerate(sizes) for _ in range(rows)]


@pytest.mark.parametrize("wrap", [pa.list_, lambda kind: pa.map_(pa.string(), kind), lambda kind: kind])
def test_structs_with_fields_of_one_name_are_refused(wrap: Any) -> None:
    twice = pa.struct([("a", pa.int64()), ("b", pa.int64()), ("a", pa.string())])
    check_writable(pa.schema([("odd", wrap(pa.struct([("a", pa.int64()), ("b", pa.int64())])))]))
    with pytest.raises(UserError, match=r"column 'odd': .*fields called \['a'\]; rename"):
        check_writable(pa.schema([("fine", pa.int64()), ("odd", wrap(twice))]))


def test_what_no_parquet_file_holds() -> None:
    assert plain_values(pa.array([1, None], pa.timestamp("s"))) == ["1970-01-01 00:00:01", None]
    assert plain_values(pa.array([86_400_000], pa.date64())) == ["1970-01-02"]
    assert plain_values(pa.array([-1, 86_399, 86_400], pa.time32("s"))) == ["-1s", "23:59:59", "86400s"]
    assert plain_values(pa.array([{}, None], pa.struct([]))) == [{}, None]
    assert plain_values(pa.chunked_array([pa.array([[1]]), pa.array([None, []], pa.list_(pa.int64()))])) == [
        [1],
        None,
        [],
    ]
    assert plain_values(pa.chunked_array([], pa.timestamp("ns"))) == []


def test_pandas_is_not_needed() -> None:
    code = (
        "import sys\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pandas': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "import pyarrow as pa\nfrom stonkgs.tables.values import plain_values\n"
        f"print(plain_values(pa.array([[{NS}]], pa.list_(pa.timestamp('ns')))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[['{INSTANT}']]"


NAN, INF = float("nan"), float("inf")
#: a column; what JSON says of its rows; what cells of TSV say; how many values became null in JSON, and in TSV
NO_JSON: dict[str, tuple[pa.Array, list[Any], list[str], int, int]] = {
    "double": (
        pa.array([NAN, 0.5, INF, -INF, None]),
        [None, 0.5, None, None, None],
        ["nan", "0.5", "inf", "-inf", ""],
        *(3, 0),
    ),
    "single": (pa.array([NAN, 0.5], pa.float32()), [None, 0.5], ["nan", "0.5"], 1, 0),
    "half": (pa.array([np.float16(NAN), np.float16(0.5)], pa.float16()), [None, 0.5], ["nan", "0.5"], 1, 0),
    "list": (
        pa.array([[NAN, 1.0, None], None, [-INF]]),
        [[None, 1.0, None], None, [None]],
        ["[null, 1.0, null]", "", "[null]"],
        *(2, 2),
    ),
    "halves": (pa.array([[np.float16(INF)]], pa.large_list(pa.float16())), [[None]], ["[null]"], 1, 1),
    "fixed list": (
        pa.array([[NAN, 1.0], None], pa.list_(pa.float32(), 2)),
        [[None, 1.0], None],
        ["[null, 1.0]", ""],
        *(1, 1),
    ),
    "struct": (
        pa.array([{"a": NAN, "b": [INF, 2.0]}]),
        [{"a": None, "b": [None, 2.0]}],
        ['{"a": null, "b": [null, 2.0]}'],
        *(2, 2),
    ),
    "map": (
        pa.array([[("k", NAN), ("l", 1.0)]], pa.map_(pa.string(), pa.float64())),
        [[["k", None], ["l", 1.0]]],
        ['[["k", null], ["l", 1.0]]'],
        *(1, 1),
    ),
    "sliced": (pa.array([[[NAN]], [[1.0, NAN], []]]).slice(1), [[[1.0, None], []]], ["[[1.0, null], []]"], 1, 1),
    "dictionary": (
        pa.array([NAN, 1.0, NAN]).dictionary_encode(),
        [None, 1.0, None],
        ["nan", "1.0", "nan"],
        *(2, 0),
    ),
    "texts": (pa.array(["NaN", "Infinity"]), ["NaN", "Infinity"], ["NaN", "Infinity"], 0, 0),
    "whole numbers": (pa.array([1, None]), [1, None], ["1", ""], 0, 0),
}


def no_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


@pytest.mark.parametrize("name", NO_JSON)
def test_what_json_cannot_say_is_null_and_counted(tmp_path: Path, name: str) -> None:
    column, lines, cells, nulls, nulls_within = NO_JSON[name]
    table = passed(tmp_path, column)
    file = io.BytesIO()
    Jsonl().write(table, file)
    found = [json.loads(line, parse_constant=no_constant)["x"] for line in file.getvalue().splitlines()]
    assert found == lines
    assert Jsonl().made_null(table) == nulls
    (tmp_path / "x.jsonl").write_bytes(file.getvalue())
    kinds = Jsonl().schema([tmp_path / "x.jsonl"])
    assert len(list(Jsonl().batches(tmp_path / "x.jsonl", pa.schema([kinds.field("source")])))) == 1
    assert all(isinstance(row, Statement) for row in JsonlSource(path=str(tmp_path / "x.jsonl")))

    file = io.BytesIO()
    Tsv().write(table, file)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""), delimiter="\t"))
    assert [row[3] for row in rows[1:]] == cells
    assert Tsv().made_null(table) == nulls_within

    with open(tmp_path / "again.parquet", "wb") as binary:
        Parquet().write(table, binary)
    assert repr(pq.read_table(tmp_path / "again.parquet")["x"].to_pylist()) == repr(column.to_pylist())
    assert Parquet().made_null(table) == 0


#: A number of JSON whose digits no float and no int of 64 bits keeps.
NUMBERS = ["1e999", "-1E-999", "0.12345678901234567890", "123456789012345678901234567890", "1.50000000000000000000001"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("number", NUMBERS)
def test_from_jsonl_to_jsonl_a_number_keeps_its_digits(tmp_path: Path, number: str, late: bool) -> None:
    """In a column of its own kind, in one of JSON, within lists, and in `extra`; again and again."""
    row = '{"source": "s", "target": "t", "evidence": "e", "x": 0.5, "y": [0.5, {"z": 0.5}]}\n'
    text = row * (1000 if late else 0) + row.replace("0.5", number)
    for _ in range(2):
        (tmp_path / "in.jsonl").write_text(text)
        source = JsonlSource(path=str(tmp_path / "in.jsonl"))
        plan = source.plan(5000)
        (split,) = plan
        read = [record for record in source.read(split, plan.schema) if isinstance(record, Statement)]
        table = pa.Table.from_batches([as_columns(read, plan.schema, source.columns)])
        file = io.BytesIO()
        Jsonl().write(table, file)
        assert Jsonl().made_null(table) == 0
        text = file.getvalue().decode()
        last = json.loads(text.splitlines()[-1], parse_float=str, parse_int=str)
        values = {**last, **(last.pop("extra") or {})}
        assert (values["x"], values["y"]) == (number, [number, {"z": number}])
    (tmp_path / "out.jsonl").write_text(text)
    kinds = Jsonl().schema([tmp_path / "out.jsonl"])
    wanted = pa.schema([kinds.field("evidence"), pa.field("x", pa.float64())])
    batches = list(Jsonl().batches(tmp_path / "out.jsonl", wanted))
    assert sum(map(len, batches)) == len(text.splitlines()), "stonkgs aggregate reads them"
    assert batches[-1]["x"].to_pylist()[-1] == (None if late else float(number))


@pytest.mark.parametrize(
    ("text", "line", "nulls"),
    [
        ('{"a": [1,\r\n 2.50]}', '{"a":[1,2.5]}', 0),
        ('[NaN, {"b": -Infinity}]', '[null,{"b":null}]', 2),
        ('"NaN"', '"NaN"', 0),
        ("no JSON", '"no JSON"', 0),
        ('{"a": 1e999}', '{"a":1e999}', 0),
        ("[" * 5000, json.dumps("[" * 5000), 0),
        (" 7 ", " 7 ", 0),
    ],
)
def test_a_column_of_json_that_somebody_has_edited(text: str, line: str, nulls: int) -> None:
    table = pa.table({"x": [text, None]}, pa.schema([json_field("x")]))
    file = io.BytesIO()
    Jsonl().write(table, file)
    assert file.getvalue().decode() == f'{{"x": {line}}}\n{{"x": null}}\n'
    assert Jsonl().made_null(table) == nulls
