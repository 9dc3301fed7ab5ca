"""Parquet: exact ranges of rows, exact values, constant memory."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.parquet import ParquetSource, RowReader
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]


def table(rows: int, **columns: Any) -> pa.Table:
    roles = {name: [f"{name}{row}" for row in range(rows)] for name in ("source", "target", "evidence")}
    return pa.table({**roles, **columns})


def written(folder: Path, content: pa.Table, name: str = "rows.parquet", **options: Any) -> str:
    pq.write_table(content, folder / name, **options)
    return str(folder / name)


@pytest.mark.parametrize("group", [1, 7, 100])
def test_ranges_are_exact_over_row_groups(tmp_path: Path, group: int) -> None:
    path = written(tmp_path, table(50, n=list(range(50))), row_group_size=group)
    source = ParquetSource(path=path)
    for rows in (1, 3, 7, 49, 50, 51):
        plan = source.plan(rows)
        assert plan.rows == 50
        assert [split[2:] for split in plan] == [(at, min(at + rows, 50)) for at in range(0, 50, rows)]
        for split in [*plan, *reversed(plan), *list(plan)[::2]]:
            records = list(source.read(split, plan.schema))
            assert [record.extra["n"] for record in records if isinstance(record, Statement)] == list(
                range(split.start, split.stop)
            )


def test_a_row_group_is_decoded_once_for_rising_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ParquetSource(path=written(tmp_path, table(20_000), row_group_size=8_000))
    opened = 0
    seek = RowReader._seek

    def counted(rows: RowReader, row: int) -> None:
        nonlocal opened
        before = rows._batches
        seek(rows, row)
        opened += rows._batches is not before

    monkeypatch.setattr(RowReader, "_seek", counted)
    plan = source.plan(100)
    assert sum(1 for _ in source.reader(plan)) == 20_000
    assert opened == 1
    next(source.read(plan[7], plan.schema))
    first = next(source.read(plan[8], plan.schema))
    assert isinstance(first, Statement)
    assert first.source == "source800"


def test_splits_of_large_rows_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stonkgs.source.parquet.SPLIT_BYTES", 10_000)
    content = table(20, blob=[bytes([row]) * 5_000 for row in range(20)])
    source = ParquetSource(path=written(tmp_path, content, use_dictionary=False))
    assert len(source.plan(100)) == 20
    assert len(source.plan(1)) == 20


def test_one_huge_row_group_is_read_at_constant_memory(tmp_path: Path) -> None:
    count = 300_000
    text = pa.array([f"{number:0200d}" for number in range(count)])
    content = pa.table({"source": text, "target": text, "evidence": text})
    path = written(tmp_path, content, row_group_size=count, use_dictionary=False, compression="none")
    size = content.nbytes
    del content, text
    source = ParquetSource(path=path)
    plan = source.plan(1000)
    before, peak = pa.total_allocated_bytes(), 0
    for split in plan:
        assert sum(1 for _ in source.read(split, plan.schema)) == 1000
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert size > 150 << 20
    assert peak < 20 << 20


def test_nulls_in_roles_are_rejected_by_row(tmp_path: Path, read: Read) -> None:
    content = pa.table(
        {"source": ["a", "b"], "target": ["c", None], "evidence": ["", "é"], "when": pa.array([1, 2], pa.date32())}
    )
    kept, rejected = read(ParquetSource(path=written(tmp_path, content)), 1)
    assert isinstance(kept, Statement)
    assert isinstance(rejected, Rejection)
    assert (rejected.row, rejected.line, rejected.offset) == (2, None, None)
    assert rejected.reason == "'target' is null"
    assert json.loads(rejected.raw) == {"source": "b", "target": None, "evidence": "é", "when": "1970-01-03"}


@pytest.mark.parametrize("kind", ["string", "large_string", "list"])
def test_a_cell_that_is_not_utf8_costs_its_row(tmp_path: Path, read: Read, kind: str) -> None:
    data = pa.array([b"ok", b"\xff", None, b"\xc3\xa9"])
    bad: Any = data.view(pa.string())
    if kind == "large_string":
        bad = data.cast(pa.large_binary()).view(pa.large_string())
    elif kind == "list":
        bad = pa.ListArray.from_arrays([0, 1, 2, 3, 4], bad)
    records = read(ParquetSource(path=written(tmp_path, table(4, x=bad))), 9)
    assert [type(record) for record in records] == [Statement, Rejection, Statement, Statement]
    (rejected,) = (record for record in records if isinstance(record, Rejection))
    assert (rejected.reason, rejected.row) == ("not UTF-8: 'x'", 2)
    assert json.loads(rejected.raw)["source"] == "source1"
    if kind != "list":
        assert json.loads(rejected.raw)["x"] == "\\xff"


def test_a_dictionary_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    entries = pa.array([b"ok", b"\xff"]).view(pa.string())
    content = table(2, x=pa.DictionaryArray.from_arrays(pa.array([0, 1]), entries))
    source = ParquetSource(path=written(tmp_path, content))
    with pytest.raises(UserError, match="Invalid UTF8"):
        list(source)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_roles_may_be_any_text(tmp_path: Path, read: Read, kind: pa.DataType) -> None:
    content = pa.table({name: pa.array(["a", "b"], kind) for name in ("source", "target", "evidence")})
    assert read(ParquetSource(path=written(tmp_path, content)), 1) == [
        Statement("a", "a", "a"),
        Statement("b", "b", "b"),
    ]


def test_a_role_of_another_type_is_named(tmp_path: Path) -> None:
    content = pa.table({"source": ["a"], "target": ["b"], "evidence": [1]})
    with pytest.raises(UserError, match=r"rows\.parquet: column 'evidence' is int64, not text"):
        ParquetSource(path=written(tmp_path, content)).plan(1)


def test_files_of_one_source_have_equal_schemas(tmp_path: Path) -> None:
    a = written(tmp_path, table(1, x=[1]), "a.parquet")
    for x, words in (
        ([1.5], r"column 4 is 'x' \(double\), but in .*a\.parquet it is 'x' \(int64\)"),
        (None, "missing"),
    ):
        b = written(tmp_path, table(1, **({"x": x} if x else {})), "b.parquet")
        with pytest.raises(UserError, match=words):
            ParquetSource(path=[a, b]).plan(1)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["source", "target", "evidence", "source"])
    with pytest.raises(UserError, match="more than one column is called 'source'"):
        ParquetSource(path=written(tmp_path, twice)).plan(1)


def test_what_pandas_notes_is_left_out(tmp_path: Path, read: Read) -> None:
    frame = pd.DataFrame({"source": ["a", "b"], "target": ["c", "d"], "evidence": ["e", "f"]}, index=[5, 7])
    frame.to_parquet(tmp_path / "rows.parquet")
    source = ParquetSource(path=str(tmp_path / "rows.parquet"))
    assert [record.extra for record in read(source, 9) if isinstance(record, Statement)] == [
        {"__index_level_0__": 5},
        {"__index_level_0__": 7},
    ]
    plan = source.plan()
    assert b"pandas" not in (plan.schema.metadata or {})


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    written(tmp_path, table(1000))
    whole = path.read_bytes()
    for data in (b"", b"source\ttarget\n", whole[:-1], whole[:500]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"rows\.parquet: cannot be read as Parquet") as error:
            ParquetSource(path=str(path)).plan(9)
        assert "\n" not in str(error.value)
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    source = ParquetSource(path=str(path))
    with pytest.raises(UserError, match=r"rows\.parquet: cannot be read as Parquet"):
        list(source)


def test_no_rows_are_one_empty_split(tmp_path: Path, read: Read) -> None:
    content = table(0).cast(pa.schema([(name, pa.string()) for name in ("source", "target", "evidence")]))
    source = ParquetSource(path=written(tmp_path, content))
    assert read(source, 9) == []
    plan = source.plan()
    assert (len(plan), plan.rows) == (1, 0)


def test_a_source_that_has_read_is_pickled_without_its_file(tmp_path: Path) -> None:
    source = ParquetSource(path=written(tmp_path, table(10)))
    plan = source.plan(2)
    expected = [list(source.read(split, plan.schema)) for split in plan]
    next(source.read(plan[0], plan.schema))
    again = pickle.loads(pickle.dumps(source))
    assert [list(again.read(split, plan.schema)) for split in plan] == expected
