"""An array that is mapped, and the rows that belong to it: both are there whole, in one order, or not at all."""

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import deaths
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stonkgs.batch import Batch, SplitEnd
from stonkgs.errors import UserError
from stonkgs.model.answer import Embeddings, Probabilities
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.identity import STORE, Identity
from stonkgs.runs.job import Job
from stonkgs.runs.record import RunRecord
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection, Tally
from stonkgs.writer.npy import NpyWriter
from stonkgs.writer.parquet import ParquetWriter

WIDTH = 5
SCHEMA = pa.schema([("id", pa.int64()), ("a.b", pa.string())])


def job(folder: Path, splits: int, **options: Any) -> Job:
    zeros = np.zeros(splits, np.int64)
    told: dict[str, Any] = {"versions": {}, "host": "here", "python": "3", "started": "today", "nodes": 3}
    record = RunRecord(identity=Identity({"threads": 1, STORE: "b"}), config={}, **told)
    given: dict[str, Any] = {"answer": Embeddings(WIDTH), "record": record, **options}
    return Job(folder, Plan(("in.tsv",), SCHEMA, zeros, zeros, zeros), first_line=lambda _: 2, **given)


def vectors(numbers: Any) -> Any:
    """A row's vector is told by its number: thirds have no end in any base."""
    return ((np.asarray(numbers, np.float32)[:, None] + np.arange(WIDTH)) / 3).astype(np.float32)


def batches(rows: int, size: int) -> Iterator[Batch]:
    """Each split in two batches, its rows shuffled, the last split first; each rejects a row."""
    random = np.random.default_rng(0)
    for split in reversed(range(-(-rows // size))):
        numbers = np.arange(split * size, min(rows, (split + 1) * size))
        order = random.permutation(len(numbers))
        for positions in (order[::2], order[1::2]):
            columns = {"id": pa.array(numbers[positions]), "a.b": [f"é{n}" for n in numbers[positions].tolist()]}
            yield Batch(split, positions, {}, pa.RecordBatch.from_pydict(columns, schema=SCHEMA))
        end = SplitEnd(Tally(size + 1))
        rejection = Rejection("in.tsv", "two fields", b"x", offset=0, line=0)
        empty = pa.RecordBatch.from_pylist([], SCHEMA)
        yield Batch(split, np.zeros(0, np.int64), {}, empty, rejected=[rejection], end=end)


def go_on(writer: ParquetWriter, folder: Path, rows: int = 17, size: int = 5, **options: Any) -> None:
    """Begin a run, or do what is left of it."""
    if isinstance(writer.start(job(folder, -(-rows // size), **options)), FinishedRun):
        writer.folder.tidy()
        return
    for batch in batches(rows, size):
        if batch.split not in writer.parts:
            writer.add(batch, vectors(batch.columns["id"].to_numpy()))
    writer.finish()


def contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    return found | {"run.json": json.loads(found["run.json"])["result"]}


@pytest.mark.parametrize("size", [1, 5, 17])
def test_the_array_and_its_rows_are_in_the_inputs_order(tmp_path: Path, size: int) -> None:
    go_on(NpyWriter(prefix="p_", columns=["a.b", "id"]), tmp_path, size=size)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("embeddings.npy", "rows.parquet", "rejected.jsonl", "run.json", "_SUCCESS")
    }
    found = np.load(tmp_path / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors(range(17)))
    rows = pq.read_table(tmp_path / "rows.parquet")
    assert rows.column_names == ["a.b", "id", "p_source_known", "p_target_known", "p_text_truncated"]
    assert rows["id"].to_pylist() == list(range(17))
    assert rows["a.b"].to_pylist() == [f"é{n}" for n in range(17)]
    assert json.loads((tmp_path / "run.json").read_text())["files"].keys() == {
        *("embeddings.npy", "rows.parquet", "rejected.jsonl")
    }


@pytest.mark.parametrize("half", [False, True])
def test_killed_at_any_file_operation(tmp_path: Path, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stonkgs.runs.presence.INTERVAL", 0.0)  # what is done does not hang on the clock
    seen, whole = tmp_path / "operations", tmp_path / "whole"
    assert deaths.in_fork(partial(go_on, NpyWriter(), whole, size=17), before=deaths.recorded(whole, seen)) == 0
    places, wanted = seen.read_text().splitlines(), contents(whole)
    for name in ("embeddings.npy", "rows.parquet"):
        made = {f"{verb} parts/{name}.tmp" for verb in ("open", "write", "fsync", "rename")}
        assert {*made, f"rename parts/{name}"} <= set(places)
    own = {place for place in places if "embeddings" in place or "rows.parquet" in place}
    numbers = deaths.writing(places, own) if half else deaths.covering(places, own)
    assert len(numbers) >= (2 if half else 6)
    for number in numbers:
        folder = tmp_path / str(number)
        dying = deaths.die_before(folder, number, half=half)
        assert deaths.in_fork(partial(go_on, NpyWriter(), folder, size=17), before=dying) == -signal.SIGKILL
        go_on(NpyWriter(), folder, size=17)
        assert contents(folder) == wanted, places[number]


def test_a_damaged_part_is_done_again(tmp_path: Path) -> None:
    go_on(NpyWriter(), tmp_path / "whole")
    writer = NpyWriter()
    writer.start(job(tmp_path / "out", 4))
    done = [batch for batch in batches(17, 5) if batch.split == 2]
    for batch in done:
        writer.add(batch, vectors(batch.columns["id"].to_numpy()))
    part = bytearray(writer.parts.rows(2).read_bytes())
    part[len(part) // 2] ^= 1
    writer.parts.rows(2).write_bytes(part)
    again = NpyWriter()
    again.start(job(tmp_path / "out", 4))

    def work() -> None:
        for batch in batches(17, 5):
            if batch.split not in again.parts:
                again.add(batch, vectors(batch.columns["id"].to_numpy()))

    again.run(work)
    assert again.finished.done_again == 1
    for name in ("embeddings.npy", "rows.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["embeddings.npy", "rows.parquet"])
def test_both_results_are_looked_at(tmp_path: Path, name: str) -> None:
    go_on(NpyWriter(), tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{name}: was changed or damaged .*overwrite=true"):
        NpyWriter().start(job(tmp_path, 4))
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"its run is finished, but {name} is gone: overwrite=true"):
        NpyWriter().start(job(tmp_path, 4))


def test_what_replaces_it_replaces_both(tmp_path: Path) -> None:
    go_on(NpyWriter(), tmp_path)
    (tmp_path / "rows.parquet.backup").write_text("mine")
    writer = ParquetWriter()
    writer.start(job(tmp_path, 4), overwrite=True)
    for batch in batches(17, 5):
        writer.add(batch, vectors(batch.columns["id"].to_numpy()))
    writer.finish()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("embeddings.parquet", "rows.parquet.backup", "rejected.jsonl", "run.json", "_SUCCESS")
    }
    table = pq.read_table(tmp_path / "embeddings.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), WIDTH)
    np.testing.assert_array_equal(table["embedding"].combine_chunks().flatten().to_numpy(), vectors(range(17)).ravel())


def test_the_same_numbers_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are bytes that wait, too: a split is written before they are many."""
    go_on(NpyWriter(), tmp_path / "whole", size=17)
    monkeypatch.setattr("stonkgs.writer.part.PIECE_BYTES", 1)
    writer = NpyWriter()
    writer.start(job(tmp_path / "pieces", 1))
    for batch in batches(17, 17):
        writer.add(batch, vectors(batch.columns["id"].to_numpy()))
        assert batch.end or len(writer._open[0]._held) < 2
    writer.finish()
    arrays = [np.load(tmp_path / name / "embeddings.npy", allow_pickle=False) for name in ("whole", "pieces")]
    np.testing.assert_array_equal(*arrays)


def test_no_rows_are_a_valid_array(tmp_path: Path) -> None:
    writer = NpyWriter()
    writer.start(job(tmp_path, 1))
    empty = pa.RecordBatch.from_pylist([], SCHEMA)
    writer.add(Batch(0, np.zeros(0, np.int64), {}, empty, end=SplitEnd(Tally(0))), np.zeros((0, WIDTH), np.float32))
    writer.finish()
    assert np.load(tmp_path / "embeddings.npy", allow_pickle=False).shape == (0, WIDTH)
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 0


def test_what_it_does_not_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"writer=npy: holds embeddings .*; predictions need writer=parquet"):
        NpyWriter().start(job(tmp_path / "out", 1, answer=Probabilities(("no", "yes"))))
    with pytest.raises(UserError, match=r"with merge=false choose writer=parquet"):
        NpyWriter().start(job(tmp_path / "out", 1, merge=False))
    assert not (tmp_path / "out").exists()
