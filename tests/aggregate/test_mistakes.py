"""Every mistake is one line that names the file, and leaves nothing behind; so does a signal."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import KINDS, ROWS, Run, message, read, write
from conftest import LABELS

from stonkgs.aggregate import aggregate
from stonkgs.aggregate.evidences import Evidences
from stonkgs.cli.aggregate import main
from stonkgs.engine.interrupt import Interrupted, signals
from stonkgs.errors import UserError


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"a, b": "x", "stmt_hash": row["stmt_hash"] or None} for row in ROWS]
    place, output = write(tmp_path / "p.tsv", rows), tmp_path / "s.jsonl"
    arguments = [str(place), "--by", '"a, b",stmt_hash', "--classes", "incorrect,correct", "--output", str(output)]
    assert main(arguments) == 0
    assert [(row["a, b"], row["stmt_hash"], row["evidences"]) for row in read(output)] == [("x", 1, 2), ("x", 2, 2)]
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in told[:3]] == [
        ["rows", "read", "6"],
        ["statements", "2", str(output)],
        ["evidences", "2.0", "a"],
    ]
    assert told[0].endswith("2 rows without a, b and stmt_hash were left out")
    assert told[2].endswith("a statement, 2 at most")
    assert told[3].startswith("rows/s")
    before = output.read_bytes()
    assert message(*arguments) == f"{output}: exists; name another output, or replace it with --overwrite"
    assert main([*arguments, "--overwrite", "--memory", "500MB"]) == 0
    assert output.read_bytes() == before


def test_help_is_instant() -> None:
    """It needs neither DuckDB nor Arrow nor torch."""
    look = "import sys; from stonkgs.cli.aggregate import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    assert "--classes A,B,..." in told
    assert not {"duckdb", "pyarrow", "torch", "numpy"} & set(told.split())


def test_what_is_no_predictions(tmp_path: Path) -> None:
    place = write(tmp_path / "p.tsv", ROWS)
    assert "no such file or folder" in message(tmp_path / "absent.tsv")
    assert "xx.tsv: cannot be read: File name too long" in message(tmp_path / f"{'x' * 300}.tsv")
    assert "no run.json beside it says which columns are probabilities; name them, as --classes" in message(place)
    (tmp_path / "p.csv").write_text("a,b\n")
    assert "p.csv: is no file of predictions, which end in .arrow, .jsonl, .parquet, .tsv" in message(
        tmp_path / "p.csv"
    )
    assert "holds no parts of predictions" in message(tmp_path, "--classes", "a")
    (tmp_path / "run.json").write_text("{}")
    assert "run.json: no run of `stonkgs predict` wrote it" in message(tmp_path)
    os.mkfifo(tmp_path / "pipe.tsv")
    assert "pipe.tsv: is no file of predictions" in message(tmp_path / "pipe.tsv", "--classes", "a")


def test_columns(tmp_path: Path) -> None:
    wide = ROWS[0] | {f"column {n:03} {'x' * 50}": n for n in range(100)}
    place, classes = write(tmp_path / "p.parquet", [wide]), ("--classes", "incorrect,correct")
    absent = message(place, *classes, "--by", "pmid")
    assert "has no column 'pmid'; there are stmt_hash, source, incorrect, correct, column 000 xxx" in absent
    assert absent.endswith("... and 74 more")
    assert len(absent) < 2_000
    assert "has no column 'yes'" in message(place, "--classes", "no,yes".replace("no", "correct"))
    assert "column 'correct' is named twice" in message(place, *classes, "--by", "correct")
    assert "--by a,a: must be names of different columns" in message(place, "--by", "a,a")
    assert "--by : must be names" in message(place, "--by", "")
    assert "--classes a,: must be names" in message(place, "--classes", "a,")
    assert "--by a b: must be names" in message(place, "--by", "a\nb")
    with pytest.raises(UserError, match="must be a list of names"):
        aggregate(place, by="stmt_hash", classes=LABELS)
    with pytest.raises(UserError, match="needs a column that tells statements apart"):
        aggregate(place, by=[], classes=LABELS)
    for name in ("evidences", "prediction", "correct_mean"):
        odd = write(tmp_path / "odd.tsv", [row | {name: 1} for row in ROWS])
        assert f"statements would have several columns '{name}'" in message(odd, *classes, "--by", name)
    table = pa.Table.from_arrays([pa.array([1])] * 3, names=["stmt_hash", "stmt_hash", "p"])
    for kind in ("parquet", "tsv"):
        twice = write(tmp_path / f"twice.{kind}", table)
        assert "has several columns 'stmt_hash'" in message(twice, "--classes", "p")
    lists = write(tmp_path / "lists.parquet", pa.table({"key": [[1]], "p": [0.5]}))
    assert "column 'key' holds list<element: int64>, which tell no" in message(lists, "--by", "key", "--classes", "p")
    assert "column 'key' holds list<element: int64>, not probabilities" in message(
        lists, "--by", "p", "--classes", "key"
    )


def test_hashes(tmp_path: Path) -> None:
    doubles = write(tmp_path / "p.parquet", pa.table({"stmt_hash": [2.0**60], "p": [0.5]}))
    assert "'stmt_hash' is double, which does not hold all hashes of 64 bits" in message(doubles, "--classes", "p")
    for kind in ("tsv", "jsonl", "parquet"):
        place = write(tmp_path / f"p.{kind}", [{"stmt_hash": "1", "p": 0.5}, {"stmt_hash": "x1", "p": 0.5}])
        told = message(place, "--classes", "p", "--output", tmp_path / "s.tsv")
        assert f"p.{kind}: after row 0: column 'stmt_hash', which is to be int64: " in told
        assert "'x1'" in told
        assert told.endswith("rename it if it is something else")
    many = write(tmp_path / "p.tsv", [{"stmt_hash": str(2**63), "p": 0.5}])
    assert "9223372036854775808" in message(many, "--classes", "p")
    none = write(tmp_path / "none.tsv", [{"stmt_hash": None, "p": 0.5}] * 3)
    assert "none of 3 rows has stmt_hash; choose others with --by" in message(none, "--classes", "p")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -0.1, 1.5])
def test_what_is_no_probability(tmp_path: Path, kind: str, value: float | None) -> None:
    place = write(tmp_path / f"p.{kind}", [*ROWS, ROWS[0] | {"correct": value}])
    told = message(place, "--classes", "incorrect,correct")
    assert f"p.{kind}: row 7: [0.25, " in told
    assert "are no probabilities of incorrect, correct, which are from 0 to 1" in told


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) * 2 // 3],
    "flipped": lambda content: content[:-70] + b"\xff" * 60 + content[-10:],
    "empty": lambda content: b"",
    "noise": lambda content: bytes(range(256)) * 20,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(run: Run, tmp_path: Path, kind: str, damage: str) -> None:
    """A run's own file, and where no run.json tells how many rows it has to have."""
    folder = Path(shutil.copytree(run(kind), tmp_path / "run"))
    place = folder / f"predictions.{kind}"
    place.write_bytes(DAMAGE[damage](place.read_bytes()))
    told = message(folder, "--by", "source", "--output", tmp_path / "s.tsv")
    assert f"predictions.{kind}: " in told
    assert len(told) < 700


def test_damage_that_is_told_with_its_place(tmp_path: Path) -> None:
    place = write(tmp_path / "p.tsv", ROWS)
    text = place.read_text()
    place.write_text(text + "7\tonly two\n")
    assert "p.tsv: after row 0: CSV parse error" in message(place, "--classes", "correct")
    place.write_text(text + '8\t"never closed\t0.5\t0.5\n' + text)
    assert "p.tsv: after row " in message(place, "--classes", "correct")
    place = write(tmp_path / "p.jsonl", ROWS)
    place.write_text('{"stmt_hash": 1, "correct": 0.5}\n' * 2000 + '{"stmt_hash": "x", "correct": 0.5}\n')
    assert "p.jsonl: column 'stmt_hash' holds numbers and texts, which tell" in message(place, "--classes", "correct")
    for line in ("[1]", "1", '{"a"', '{"a": ' + "[" * 100_000):
        place.write_text(line + "\n")
        assert "p.jsonl: its columns: " in message(place, "--classes", "correct")
    part, whole = tmp_path / "parts" / "00000000.tsv", tmp_path / "parts" / "00000001.tsv"
    part.parent.mkdir()
    write(part, ROWS)
    write(whole, [{"stmt_hash": 1, "correct": 0.5, "source": "s"}])
    assert "00000001.tsv: has no column 'incorrect', which the" in message(
        part.parent, "--classes", "correct,incorrect"
    )
    table = pa.table({"stmt_hash": [1], "source": pa.array([b"\xff"]).view(pa.string()), "correct": [0.5]})
    assert "UTF8" in message(write(tmp_path / "p.parquet", table), "--classes", "correct")


def test_a_row_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found before it fills the memory."""
    monkeypatch.setattr("stonkgs.tables.text.LONGEST", 1 << 20)
    place = tmp_path / "p.tsv"
    with open(place, "wb") as file:
        file.write(b'stmt_hash\tp\n1\t"0.5\n')
        file.truncate(1 << 30)
    assert "p.tsv: a row has more than 1 MB; is a quote not closed?" in message(place, "--classes", "p")


def test_a_run_that_is_not_finished(run: Run, finished: Path, tmp_path: Path) -> None:
    told = "its run is not finished; go on with it: give its command again"
    (finished / "_SUCCESS").unlink()
    assert f"{finished}: {told}" in message(finished)
    assert f"{finished}: {told}" in message(finished / "parts")
    work = finished / "parts-01234567"
    shutil.copytree(finished / "parts", work)
    (work / "_plan.json").write_text("{}")
    assert told in message(work, "--classes", "incorrect,correct")
    (finished / "run.json").rename(finished / "plan.json")
    assert f"{finished}: {told}" in message(finished)


def change(folder: Path, **values: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | values))


def test_run_json(finished: Path) -> None:
    change(finished, predictions="../x.parquet")
    assert "run.json: '../x.parquet' is no name of predictions" in message(finished)
    change(finished, predictions="parts", model={})
    assert "run.json: is no record of this version" in message(finished)
    change(finished, model={"labels": [["a"]]})
    assert "run.json: is no record of this version" in message(finished)
    change(finished, model={"labels": ["yes"]})
    assert "has no column 'yes'" in message(finished)
    change(finished, splits="9")
    assert "run.json: is no record of this version" in message(finished)
    change(finished, splits=9, result={"predicted": "x"})
    assert "run.json: is no record of this version" in message(finished)
    change(finished, predictions="predictions.parquet", result={"predicted": 60})
    assert "predictions.parquet: is gone, and run.json beside it tells of it" in message(finished)
    (finished / "_SUCCESS").unlink()
    change(finished, predictions=None)
    assert "every row of its run was rejected" in message(finished)


def test_a_result_that_was_changed_since(finished: Path) -> None:
    """By its size in run.json, before a row is read."""
    part = finished / "parts" / "00000003.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    assert "parts: was changed or damaged since its run has finished: it had" in message(finished)


@pytest.mark.parametrize("recorded", [True, False])
def test_predictions_that_change_while_they_are_read(
    finished: Path, tmp_path: Path, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's or any others, in place or by another file of that name."""
    path = finished / "parts" if recorded else shutil.copy(finished / "parts" / "00000000.parquet", tmp_path)
    file = finished / "parts" / "00000008.parquet" if recorded else tmp_path / "00000000.parquet"
    following = Evidences._next

    def late(self: Evidences, *arguments: Any) -> Any:
        found = following(self, *arguments)
        if self.rows > 3 and found is not None:
            shutil.copy(file, tmp_path / "new")
            (tmp_path / "new").replace(file)
        return found

    monkeypatch.setattr(Evidences, "_next", late)
    output = tmp_path / "s.tsv"
    options = [] if recorded else ["--classes", "incorrect,correct"]
    assert "was changed while it was read; nothing was written" in message(
        Path(path), *options, "--output", str(output)
    )
    assert not output.exists()


def test_parts(finished: Path) -> None:
    change(finished, files={})  # as an earlier version left it, which knew no sizes
    parts = finished / "parts"
    last = max(parts.iterdir())
    kept = last.read_bytes()
    last.unlink()
    assert "parts: holds 8 parts up to 00000007, of 9; fetch all of them again" in message(finished)
    last.write_bytes(kept)
    (parts / "00000003.parquet").unlink()
    assert "holds 8 parts up to 00000008, of 9" in message(parts)
    write(parts / "00000003.tsv", ROWS)
    assert "holds parts of several kinds, parquet, tsv" in message(finished)
    (parts / "00000003.tsv").unlink()
    write(parts / "00000003.parquet", ROWS)
    told = "00000003.parquet: has no column 'target', which the first part has; fetch it again, or predict again"
    assert told in message(finished, "--by", "source")
    pq.write_table(pq.read_table(last).slice(1), parts / "00000003.parquet")
    held = sum(pq.read_metadata(part).num_rows for part in parts.iterdir())
    assert f"parts: holds {held} rows, and run.json tells of 60" in message(finished)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that take seconds."""
    rows = np.arange(3_000_000)
    table = pa.table({"stmt_hash": rows * 7919 % 2_999_999, "p": np.full(len(rows), 0.5, np.float32)})
    return write(tmp_path_factory.mktemp("large") / "p.parquet", table)


def spilled(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("s.tsv.tmp-*/*"))


@pytest.mark.parametrize("waits", [lambda folder: any(folder.iterdir()), spilled], ids=["begun", "spilled"])
def test_a_signal(large: Path, tmp_path: Path, waits: Callable[[Path], bool]) -> None:
    """It ends a command that has begun, or whose rows are on the disk, and nothing of it is left."""
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.is_set():
            if waits(tmp_path):
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Interrupted), signals():
            aggregate(large, classes=["p"], memory="32MB", output=tmp_path / "s.tsv")
    finally:
        ended.set()
        thread.join()
    assert not list(tmp_path.iterdir())
    assert sorted(path.name for path in large.parent.iterdir()) == ["p.parquet"]
