"""Sorting: the same rows in order, whatever memory there is. Where that is too little, a message says what to give."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import EVIDENCE, message, write
from conftest import LABELS, file_size_limit
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.aggregate import aggregate
from stonkgs.aggregate.sort import open_sorter, rebatch
from stonkgs.errors import UserError


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 9)), rows=st.integers(1, 7))
def test_rebatch(sizes: list[int], rows: int) -> None:
    numbers = iter(range(sum(sizes)))
    batches = [pa.record_batch({"a": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    found = [batch["a"].to_pylist() for batch in rebatch(batches, rows)]
    assert [number for batch in found for number in batch] == [*range(sum(sizes))]
    assert all(len(batch) == rows for batch in found[:-1])
    assert all(0 < len(batch) <= rows for batch in found)


def test_order(tmp_path: Path) -> None:
    """By the first columns, nulls last, texts by their bytes. Names of columns may be what no query could hold."""
    names = ['a"; drop', "A", "a"]
    rows = [("b", 2, 1), ("b", None, 2), (None, 1, 3), ("β", 1, 4), ("B", 1, 5), ("b", 1, 6)]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], names)
    with open_sorter(tmp_path / "s", "500MB") as sorter:
        (found,) = sorter.sorted([batch.slice(0, 4), batch.slice(4)], batch.schema, 2)
    assert found.column(2).to_pylist() == [5, 6, 1, 2, 4, 3]
    assert not list(tmp_path.iterdir())


def test_what_ends_the_reading_is_told(tmp_path: Path) -> None:
    """As it is, not as DuckDB's error."""
    batch = pa.record_batch({"a": [1]})

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch
        raise KeyError("of the reader")

    with open_sorter(tmp_path / "s", "500MB") as sorter, pytest.raises(KeyError, match="of the reader"):
        list(sorter.sorted(batches(), batch.schema, 1))


def many(count: int) -> pa.Table:
    """Rows of a statement and evidence here and there, with texts that take memory."""
    generator = np.random.default_rng(0)
    p = generator.random(count, np.float32)
    nodes = pa.array([f"p(HGNC:{number} ! a rather long name of a node)" for number in range(1000)])
    columns: dict[str, Any] = {
        "stmt_hash": generator.integers(-(2**62), 2**62, count // 4).repeat(4),
        EVIDENCE: pa.array(generator.integers(0, 3, count), mask=generator.random(count) < 0.2),
        "incorrect": 1 - p,
        "correct": p,
        "source": nodes.take(pa.array(generator.integers(0, 1000, count))),
        "target": nodes.take(pa.array(generator.integers(0, 1000, count))),
    }
    return pa.table(columns).take(generator.permutation(count))


def enough(place: Path, output: Path) -> str:
    """The least --memory that does, by the command's own advice."""
    memory = "1KB"
    for _ in range(8):
        told = advice(place, memory, output)
        if not told:
            return memory
        found = re.fullmatch(rf"--memory {memory} is too little to sort so many rows; give --memory (\w+)", told)
        assert found, told
        memory = found[1]
    raise AssertionError(f"--memory {memory} is advised, and not enough")


def advice(place: Path, memory: str, output: Path) -> str | None:
    """What is said of so much memory, None where it is enough."""
    try:
        aggregate(place, classes=LABELS, memory=memory, output=output)
    except UserError as error:
        return str(error)
    return None


def test_more_than_memory_holds(tmp_path: Path) -> None:
    """The same bytes, however little there is, and in another order of the rows; what is put on the disk is gone."""
    table = many(400_000)
    place = write(tmp_path / "p.parquet", table)
    memory = enough(place, tmp_path / "little.parquet")
    with file_size_limit(1 << 20):  # so it does need the disk
        told = message(place, "--classes", ",".join(LABELS), "--memory", memory, "--output", tmp_path / "s.parquet")
    assert re.match(r"the rows cannot be sorted \(.*File too large\); give more --memory, or the disk more room", told)
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    write(place, shuffled)
    summary = aggregate(place, classes=LABELS, memory="4GB", output=tmp_path / "much.parquet")
    assert (tmp_path / "little.parquet").read_bytes() == (tmp_path / "much.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["little.parquet", "much.parquet", "p.parquet"]

    groups = table.group_by(["stmt_hash", EVIDENCE]).aggregate([([], "count_all")])
    alone = groups.filter(pa.compute.is_null(groups[EVIDENCE]))["count_all"].to_numpy().sum()
    assert summary.evidences == alone + len(groups) - groups[EVIDENCE].null_count
    found = pq.read_table(tmp_path / "much.parquet")
    assert summary.statements == len(found) == 100_000
    assert (np.diff(found["stmt_hash"].to_numpy()) > 0).all()


def test_sums_do_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement and one evidence over many batches: counted once, as exactly as in one batch."""
    rows = 2**15 * 3 + 17
    p = np.random.default_rng(0).random(rows)
    columns = {"stmt_hash": [7] * rows, EVIDENCE: [1] * 50_000 + [None] * (rows - 50_000), "p": p, "q": 1 - p}
    place = write(tmp_path / "p.parquet", pa.table(columns))
    assert aggregate(place, classes=["p", "q"]).evidences == 1 + rows - 50_000
    (found,) = pq.read_table(tmp_path / "statements.parquet").to_pylist()
    one, others = p[:50_000].mean(), p[50_000:]
    assert found["p_mean"] == pytest.approx((one + others.sum()) / (1 + len(others)), rel=1e-13)
    assert found["p_max"] == p.max()
