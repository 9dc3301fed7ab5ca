"""Types of JSON lines, which all rows decide."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import Row, message, read

from stonkgs.aggregate import aggregate
from stonkgs.tables.jsonl import Jsonl

#: More rows than anybody looks at first.
MANY = 1500


def write(path: Path, rows: list[Row]) -> Path:
    """Rows with what each has, and no more."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def rows(**values: Any) -> list[Row]:
    return [{"stmt_hash": n % 3, "p": 0.5, "q": 0.5} | values for n in range(MANY)]


@pytest.mark.parametrize("early", [{}, {"pmid": None}])
def test_values_that_come_late(tmp_path: Path, early: Row) -> None:
    place = write(tmp_path / "p.jsonl", [*rows(**early), *[{"pmid": "a", "p": 1, "q": 0.0}] * 2])
    summary = aggregate(place, by=["pmid"], classes=["p", "q"], output=tmp_path / "s.jsonl")
    assert (summary.rows, summary.without_key, summary.statements) == (MANY + 2, MANY, 1)
    assert [(row["pmid"], row["evidences"], row["p_mean"]) for row in read(tmp_path / "s.jsonl")] == [("a", 2, 1)]


def test_hashes_that_come_late(tmp_path: Path) -> None:
    late = [{"stmt_hash": hash_, "p": 0.5, "q": 0.5} for hash_ in (-(2**62) - 1, 2**62 + 1)]
    aggregate(write(tmp_path / "p.jsonl", [*rows(stmt_hash=None), *late]), classes=["p", "q"])
    assert [row["stmt_hash"] for row in read(tmp_path / "statements.parquet")] == [-(2**62) - 1, 2**62 + 1]


def test_fractions_that_come_late(tmp_path: Path) -> None:
    place = write(tmp_path / "p.jsonl", [*rows(belief=1, p=1, q=0), *rows(belief=0.5)])
    aggregate(place, classes=["p", "q"])
    aggregate(place, by=["belief"], classes=["p", "q"], output=tmp_path / "by.parquet")
    assert {row["belief"] for row in read(tmp_path / "statements.parquet")} == {0.5}
    assert [(row["belief"], row["evidences"], row["p_mean"]) for row in read(tmp_path / "by.parquet")] == [
        (0.5, MANY, 0.5),
        (1.0, MANY, 1.0),
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((1, "a"), "numbers and texts"),
        ((0.5, None, "a", 2), "numbers and texts"),
        ((1, True), "numbers and true or false"),
        (([], {}, "a"), "lists and objects and texts"),
        (({},), "objects"),
    ],
)
def test_values_of_several_kinds(tmp_path: Path, values: tuple[Any, ...], told: str) -> None:
    """They are no damage, and only where the column is asked for a mistake."""
    mixed = [row for value in values for row in rows(key=value, stmt_type=value)]
    place = write(tmp_path / "p.jsonl", mixed)
    by_key = message(place, "--by", "key", "--classes", "p,q")
    assert by_key == f"{place}: column 'key' holds {told}, which tell no statements apart; choose others with --by"
    assert message(place, "--classes", "key,q") == f"{place}: column 'key' holds {told}, not probabilities"
    aggregate(place, classes=["p", "q"])
    assert "stmt_type" not in pq.read_schema(tmp_path / "statements.parquet").names


def test_texts_that_look_like_something_else(tmp_path: Path) -> None:
    """Dates stay texts, and texts that are probabilities count as what they say."""
    dates = ["2020-02-29", "2020-02-29 01:02:03"]
    place = write(tmp_path / "p.jsonl", [{"key": date, "p": "0.25", "q": "0.75"} for date in dates * 2])
    assert Jsonl().schema([place]).types == [pa.string()] * 3
    aggregate(place, by=["key"], classes=["p", "q"])
    found = read(tmp_path / "statements.parquet")
    assert [(row["key"], row["p_mean"], row["q_max"]) for row in found] == [(date, 0.25, 0.75) for date in dates]


def test_a_damaged_part_is_told(tmp_path: Path) -> None:
    """By its own name, also where it is not the first."""
    for number in range(3):
        write(tmp_path / f"0000000{number}.jsonl", rows())
    (tmp_path / "00000001.jsonl").write_text('{"stmt_hash": 1, "p": 0.5, "q"\n')
    told = message(tmp_path, "--classes", "p,q", "--output", tmp_path.parent / "s.tsv")
    assert told.startswith(f"{tmp_path}/00000001.jsonl: its columns: ")
