"""What a run reads is changed by somebody while it reads: nothing is published, and one line says what happened."""

import gzip
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.writer.part import OpenPart

HEADER = ["source", "target", "evidence"]
ROWS = [[NODES[n % 7], NODES[n % 5], f"HIF1A {n}"] for n in range(60)]
MORE = "".join("\t".join(row) + "\n" for row in ROWS[:3])


@pytest.fixture
def job(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A command over seven splits."""
    write_lines(tmp_path / "rows.tsv", [HEADER, *ROWS])
    return ["predict", *small_run, "threads=1", "split.rows=9", "batch.size=4"]


def after_three_splits(change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do this in the midst of the run."""
    commit, seen = OpenPart.commit, []

    def committed(*arguments: Any) -> None:
        commit(*arguments)
        seen.append(1)
        if len(seen) == 3:
            change()

    monkeypatch.setattr(OpenPart, "commit", committed)


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"HIF1A", b"hif1a"))


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"HIF1A", b"HIF-1A"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replaced(path: Path) -> None:
    """By a rename: who has it open goes on reading what was there before."""
    new = path.with_name("new")
    new.write_bytes(path.read_bytes().replace(b"HIF1A", b"hif1a"))
    new.replace(path)


def with_its_time_back(path: Path) -> None:
    stat = path.stat()
    rewritten(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def touched(path: Path) -> None:
    """Written with the same content, its time put back: it cannot be told from another content in the middle."""
    stat = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def removed(path: Path) -> None:
    path.unlink()


CHANGES: dict[Callable[[Path], None], str] = {
    rewritten: "was changed while it was read: it has another content",
    longer: "was changed while it was read: it has another content",
    cut: "was changed while it was read: it had",
    replaced: "was changed while it was read: it has another content",
    with_its_time_back: "was changed while it was read: it has another content",
    touched: "was touched while it was read",
    removed: "No such file",
}


def check_refused(out: Path, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert {path.name[:6] for path in out.iterdir()} == {"plan.j", "parts-"}, "nothing is published, all is kept"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_input_is_not_published(
    job: list[str],
    tmp_path: Path,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    after_three_splits(lambda: change(tmp_path / "rows.tsv"), monkeypatch)
    assert main(job) == 1
    check_refused(tmp_path / "out", CHANGES[change], capsys)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["gzip", "parquet", "jsonl", "second"])
def test_in_whatever_form(
    job: list[str],
    tmp_path: Path,
    kind: str,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Compressed, in another format, the second of two files; read by a worker."""
    path, source = tmp_path / f"in.{kind}", "tsv"
    whole = (tmp_path / "rows.tsv").read_bytes()
    values = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(values), path, row_group_size=9)
        source = kind
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in values))
        source = kind
    else:
        path.write_bytes(gzip.compress(whole) if kind == "gzip" else whole)
    paths = f"[{tmp_path}/rows.tsv,{path}]" if kind == "second" else str(path)
    arguments = [word for word in job if not word.startswith("source.path=")]
    more = [f"source={source}", f"source.path={paths}", f"num_workers={workers}", "start_method=fork"]
    after_three_splits(lambda: cut(path), monkeypatch)
    assert main([*arguments, *more]) == 1
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "run.json").exists()


def test_rows_appended_are_for_the_next_run(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.tsv"

    def appended() -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(MORE)

    after_three_splits(appended, monkeypatch)
    assert main(job) == 0
    out = capsys.readouterr().out
    assert f"has grown  {len(MORE.encode()):>12}   bytes: {path}; what was appended" in out
    assert (tmp_path / "out" / "predictions.tsv").read_text().count("\n") == 61
    assert json.loads((tmp_path / "out" / "run.json").read_text())["input"][0]["size"] < path.stat().st_size


def test_rows_appended_before_the_splits_are_planned(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fingerprint was taken before: it and the rows that are read belong together."""
    from stonkgs.source.tsv import TsvSource

    plan = TsvSource.plan

    def late(*arguments: Any, **options: Any) -> Any:
        with open(tmp_path / "rows.tsv", "a", encoding="utf-8") as file:
            file.write(MORE)
        return plan(*arguments, **options)

    monkeypatch.setattr(TsvSource, "plan", late)
    for number, quoting in enumerate(("none", "csv")):
        write_lines(tmp_path / "rows.tsv", [HEADER, *ROWS])
        more = [f"output_dir={tmp_path}/{number}", f"source.quoting={quoting}"]
        assert main([*(word for word in job if not word.startswith("output_dir=")), *more]) == 0
        assert "has grown" in capsys.readouterr().out
        assert (tmp_path / str(number) / "predictions.tsv").read_text().count("\n") == 61


@pytest.mark.parametrize(
    ("end", "status"), [("more\n", 1), ("\nnobody\tnobody\tx\n", 0), ("\r\nnobody\tnobody\tx\n", 0)]
)
def test_a_last_row_that_was_still_being_written(
    job: list[str],
    tmp_path: Path,
    end: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(path.read_text().removesuffix("\n"))

    def appended() -> None:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(end)

    after_three_splits(appended, monkeypatch)
    assert main(job) == status
    if status:
        check_refused(tmp_path / "out", "its last row was still being written", capsys)


@pytest.mark.parametrize("kind", ["gzip", "parquet", "array"])
def test_what_rows_cannot_be_appended_to(
    job: list[str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole = tmp_path / "in", (tmp_path / "rows.tsv").read_bytes()
    if kind == "parquet":
        values = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
        pq.write_table(pa.Table.from_pylist(values), path, row_group_size=9)
    elif kind == "array":
        agents = {"subj": {"name": "A", "db_refs": {}}, "obj": {"name": "B", "db_refs": {}}}
        path.write_text(json.dumps([{"type": "Activation", **agents, "evidence": [{"text": "x y"}]}] * 60))
    else:
        path.write_bytes(gzip.compress(whole))

    def appended() -> None:
        with open(path, "ab") as file:
            file.write(gzip.compress(MORE.encode()) if kind == "gzip" else b"\n ")

    source = {"gzip": "tsv", "parquet": "parquet", "array": "indra"}[kind]
    arguments = [word for word in job if not word.startswith("source.path=")]
    after_three_splits(appended, monkeypatch)
    assert main([*arguments, f"source={source}", f"source.path={path}"]) == 1
    assert "was changed while it was read: it had" in capsys.readouterr().err
    assert not (tmp_path / "out" / "run.json").exists()


def test_changed_behind_the_last_split(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When everything is predicted, and nothing joined yet: the last look is before that."""
    from stonkgs.writer.base import PredictionWriter

    finish = PredictionWriter.finish

    def late(writer: PredictionWriter) -> Any:
        rewritten(tmp_path / "rows.tsv")
        return finish(writer)

    monkeypatch.setattr(PredictionWriter, "finish", late)
    assert main(job) == 1
    check_refused(tmp_path / "out", "it has another content", capsys)


def test_restored_it_goes_on(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the bytes that a run has which nobody disturbs."""
    assert main([*job, f"output_dir={tmp_path}/whole"]) == 0
    path = tmp_path / "rows.tsv"
    before, stat = path.read_bytes(), path.stat()
    with monkeypatch.context() as patch:
        after_three_splits(lambda: rewritten(path), patch)
        assert main(job) == 1
    assert main(job) == 1, "it is still another file"
    assert "holds a run that is not finished" in capsys.readouterr().err
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert main(job) == 0
    for name in ("predictions.tsv", "rejected.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("what", ["kge", "model"])
def test_written_to_what_is_mapped(
    job: list[str],
    tmp_path: Path,
    model_path: Path,
    kge_path: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store and the weights are mapped into memory: what somebody writes there would be computed with."""
    kge, model = shutil.copy(kge_path, tmp_path / "kge.h5"), shutil.copytree(model_path, tmp_path / "model")
    path = Path(kge) if what == "kge" else model / "model.safetensors"

    def written() -> None:
        with open(path, "r+b") as file:
            file.seek(-4, os.SEEK_END)
            last = file.read()
            file.seek(-4, os.SEEK_END)
            file.write(bytes(255 - byte for byte in last))

    after_three_splits(written, monkeypatch)
    assert main([*job, f"kge.path={kge}", f"model.path={model}"]) == 1
    check_refused(tmp_path / "out", f"{path}: was written to while it was in use", capsys)


def test_another_store_in_its_place_is_no_matter(
    job: list[str], tmp_path: Path, kge_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a rename: this process goes on with the one that it has opened."""
    kge = Path(shutil.copy(kge_path, tmp_path / "kge.h5"))
    assert main([*job, f"kge.path={kge}", f"output_dir={tmp_path}/whole"]) == 0
    (tmp_path / "other").write_bytes(b"another one")
    after_three_splits(lambda: (tmp_path / "other").replace(kge), monkeypatch)
    assert main([*job, f"kge.path={kge}"]) == 0
    predictions = [(tmp_path / name / "predictions.tsv").read_bytes() for name in ("out", "whole")]
    assert predictions[0] == predictions[1]


@pytest.fixture
def training(tmp_path: Path, kge_path: Path) -> list[str]:
    """A training that takes a second."""
    rows = [[NODES[n % 9], NODES[n % 7], f"HIF1A {('falls', 'rises')[n % 2]} {n}", str(n % 2)] for n in range(60)]
    write_lines(tmp_path / "rows.tsv", [[*HEADER, "label"], *rows])
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv", f"output_dir={tmp_path}/out"]
    return ["train", "model=tfidf", "task.name=label", "task.column=label", *paths]


def after_counting(change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do this when the rows are counted, and none is learned."""
    from stonkgs.train.folder import TrainFolder

    begin = TrainFolder.begin

    def begun(*arguments: Any) -> None:
        begin(*arguments)
        change()

    monkeypatch.setattr(TrainFolder, "begin", begun)


def test_a_training_whose_rows_change(
    training: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads them several times, and its parts would not be those that were counted."""
    after_counting(lambda: rewritten(tmp_path / "rows.tsv"), monkeypatch)
    assert main(training) == 1
    assert "was changed while it was read: it has another content" in capsys.readouterr().err
    assert not (tmp_path / "out" / "run.json").exists()
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_training_whose_file_grows(
    training: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def appended() -> None:
        with open(tmp_path / "rows.tsv", "a", encoding="utf-8") as file:
            file.write("a\tb\tc\t1\n")

    after_counting(appended, monkeypatch)
    assert main(training) == 0
    assert "rows.tsv: has grown by 8 bytes since the training began; they were not read" in capsys.readouterr().err
    assert sum(json.loads((tmp_path / "out" / "run.json").read_text())["census"]["rows"].values()) == 60


def test_another_store_in_its_place_is_no_store_for_a_worker(kge_path: Path, tmp_path: Path) -> None:
    """A worker opens it by its name: nodes have other numbers there than in the process that has sent it."""
    from synthetic import write_store

    path = shutil.copy(kge_path, tmp_path / "kge.h5")
    store = KgeStore(path=path)
    assert store.nodes == len(NODES)
    sent = pickle.dumps(store)
    assert pickle.loads(sent).nodes == len(NODES)
    again = pickle.dumps(pickle.loads(sent))
    write_store(tmp_path / "other.h5", nodes=50, dimension=16, walk_length=5).replace(path)
    for worker in (sent, again):
        with pytest.raises(UserError, match="was replaced by another store while it was in use"):
            _ = pickle.loads(worker).nodes
    assert store.number(NODES[0]) == 0
