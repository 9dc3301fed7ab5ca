"""Whatever keys, names and probabilities there are, however many: statements of made rows."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import check_same, plain, read, write
from conftest import LABELS
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.aggregate import aggregate

ROWS = st.lists(
    st.tuples(st.integers(-3, 3), st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=40
)


@settings(max_examples=15, deadline=None)
@given(rows=ROWS, shuffled=st.randoms(use_true_random=False))
def test_measures(
    rows: list[tuple[int, float, float]], shuffled: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Beside Python's own, and the same to the bit in any order of the rows."""
    folder = tmp_path_factory.mktemp("measures")
    contents = []
    for number in range(2):
        columns = dict(zip(("stmt_hash", *LABELS), zip(*rows, strict=True), strict=True))
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
        output = folder / f"s{number}.parquet"
        aggregate(folder / f"{number}.parquet", classes=LABELS, output=output)
        contents.append(output.read_bytes())
        shuffled.shuffle(rows)
    assert contents[0] == contents[1]
    wanted = plain([dict(zip(("stmt_hash", *LABELS), row, strict=True)) for row in rows], ["stmt_hash"])
    found = read(output)
    said = [row.pop("prediction") for row in found]
    check_same(found, [{name: row[name] for name in row if name != "prediction"} for row in wanted])
    for row, word in zip(found, said, strict=True):
        for label in LABELS:
            noisy_or, mean, largest = (row[f"{label}_{name}"] for name in ("noisy_or", "mean", "max"))
            assert noisy_or >= largest - 1e-15
            assert row["evidences"] > 1 or noisy_or == mean == largest
            assert largest < 1 or noisy_or == 1
        sums = [sum(row[1:]) for row in rows]
        several = max(abs(sum_ - 1) for sum_ in sums) > 1e-5
        means = {label: row[f"{label}_mean"] for label in LABELS}
        joined = "|".join(label for label in LABELS if means[label] >= 0.5)
        assert word == (joined if several else max(means, key=means.__getitem__))


def test_very_many_evidences_of_one_statement(tmp_path: Path) -> None:
    """Small probabilities come to a large one; no product underflows, and no sum overflows."""
    table = pa.table({"stmt_hash": pa.array([7] * 200_000), "p": np.full(200_000, 1e-5), "q": np.ones(200_000)})
    summary = aggregate(write(tmp_path / "p.parquet", table), classes=["p", "q"])
    assert (summary.statements, summary.most) == (1, 200_000)
    (row,) = read(tmp_path / "statements.parquet")
    assert row["p_noisy_or"] == pytest.approx(-math.expm1(200_000 * math.log1p(-1e-5)), rel=1e-12)
    assert row["p_mean"] == pytest.approx(1e-5, rel=1e-12)
    assert (row["q_noisy_or"], row["q_mean"], row["q_max"]) == (1, 1, 1)
    aggregate(
        write(tmp_path / "n.parquet", pa.table({"stmt_hash": [1, 1], "p": [0.0, 0.0], "q": [1.0, 1.0]})),
        classes=["p", "q"],
        output=tmp_path / "zero.parquet",
    )
    (row,) = read(tmp_path / "zero.parquet")
    assert math.copysign(1, row["p_noisy_or"]) == 1


KEYS: list[tuple[str, list[Any]]] = [
    ("int8", [3, -1, None]),
    ("uint64", [2**64 - 1, 0, None]),
    ("bool", [True, False, None]),
    ("float", [0.5, -0.25, None]),
    ("double", [1e300, -1e-300, math.nan]),
    ("string", ["b", "a\0c", ""]),
    ("large_string", ["β", "a", None]),
    ("date32", [date(2026, 1, 2), date(1815, 12, 10), None]),
]
OTHERS: list[tuple[Any, list[Any]]] = [
    (pa.timestamp("ns", "Europe/Berlin"), [datetime(2026, 1, 2, tzinfo=UTC), datetime(1999, 1, 2, tzinfo=UTC), None]),
    (pa.duration("ms"), [timedelta(hours=3), timedelta(hours=-3), None]),
    (pa.decimal128(30, 4), [Decimal("1e20"), Decimal("0.0001"), None]),
    (pa.dictionary(pa.int8(), pa.string()), ["b", "a", None]),
]


@pytest.mark.parametrize(
    ("type_", "values"), [(pa.type_for_alias(name), values) for name, values in KEYS] + OTHERS, ids=str
)
def test_types_of_keys(tmp_path: Path, type_: pa.DataType, values: list[Any]) -> None:
    """They come out as they went in, in order; what is no value is left out."""
    first, second, _ = values
    keys = pa.array([*values, first], type_)
    passed = pa.array([*values, None], type_)
    table = pa.table({"key": keys, "source": passed, "p": [0.1, 0.2, 0.3, 0.4], "q": [0.9, 0.8, 0.7, 0.6]})
    summary = aggregate(write(tmp_path / "p.parquet", table), by=["key"], classes=["p", "q"])
    assert (summary.statements, summary.without_key) == (2, 1)
    found = pq.read_table(tmp_path / "statements.parquet")
    text = pa.types.is_dictionary(type_) or pa.types.is_large_string(type_)
    assert found.schema.field("key").type == found.schema.field("source").type == (pa.string() if text else type_)
    wanted = pa.array([second, first], type_).to_pylist()
    assert found["key"].to_pylist() == found["source"].to_pylist() == wanted
    assert found["evidences"].to_pylist() == [1, 2]


def test_zeros_of_either_sign_are_one_key(tmp_path: Path) -> None:
    for number, zeros in enumerate(([0.0, -0.0], [-0.0, 0.0])):
        write(tmp_path / "p.parquet", pa.table({"key": zeros, "p": [0.5, 0.5], "q": [0.5, 0.5]}))
        aggregate(tmp_path / "p.parquet", by=["key"], classes=["p", "q"], output=tmp_path / f"{number}.parquet")
    assert len({(tmp_path / f"{number}.parquet").read_bytes() for number in range(2)}) == 1
    assert [row["evidences"] for row in read(tmp_path / "0.parquet")] == [2]


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    """DuckDB takes them for one."""
    rows = [{"id": "a", "ID": n % 2, "no": 0.25, "No": 0.75, "source": "s", "Source": "t"} for n in range(4)]
    aggregate(write(tmp_path / "p.jsonl", rows), by=["ID", "id"], classes=["No", "no"], output=tmp_path / "s.jsonl")
    found = read(tmp_path / "s.jsonl")
    assert [(row["ID"], row["id"], row["No_max"], row["no_max"], row["source"]) for row in found] == [
        (number, "a", 0.75, 0.25, "s") for number in range(2)
    ]


def test_names_of_files_are_no_patterns(tmp_path: Path) -> None:
    rows = [{"stmt_hash": 1, "p": 0.25, "q": 0.75}]
    for name in ("a.parquet", "[ab].parquet", "*.parquet", 'it\'s "one".parquet', "s3:x.parquet"):
        write(tmp_path / name, rows)
    for name in ("[ab].parquet", "*.parquet", 'it\'s "one".parquet', "s3:x.parquet"):
        assert aggregate(tmp_path / name, classes=["p", "q"], output=tmp_path / f"{name}[*]'.tsv").rows == 1
        assert len(read(tmp_path / f"{name}[*]'.tsv")) == 1


def test_no_rows(tmp_path: Path) -> None:
    schema = pa.schema([("stmt_hash", pa.int64()), ("p", pa.float32())])
    for kind in ("parquet", "tsv"):
        write(tmp_path / f"p.{kind}", schema.empty_table())
        summary = aggregate(tmp_path / f"p.{kind}", classes=["p"], output=tmp_path / f"s.{kind}")
        assert (summary.rows, summary.statements, summary.mean) == (0, 0, 0)
    names = ["stmt_hash", "evidences", "p_noisy_or", "p_mean", "p_max", "prediction"]
    assert pq.read_table(tmp_path / "s.parquet").schema.names == names
    assert (tmp_path / "s.tsv").read_text() == "\t".join(names) + "\n"
