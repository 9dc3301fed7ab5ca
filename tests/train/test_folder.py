"""A training's folder: what is ours in it, and what is not."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stonkgs.errors import UserError
from stonkgs.runs.identity import Identity
from stonkgs.runs.record import RunRecord
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.train.census import Census
from stonkgs.train.folder import OUR_FOLDERS, OURS, TrainFolder, TrainingBegun
from stonkgs.train.summary import Trained
from stonkgs.train.task import Classes

COUNTS = {"down": 5, "up": 7}


def census_of(rejected: int = 0) -> Census:
    return Census(
        classes=Classes(("down", "up"), False, COUNTS),
        parts={"train": COUNTS},
        rows={"train": 12},
        unused={},
        first=np.array([0, 7]),
        labelled=12,
        rejected=rejected,
    )


def changed(record: RunRecord, *files: Path, without: str = "", **values: Any) -> RunRecord:
    """The same command over these files, if any, and with other values."""
    kept = {name: value for name, value in record.identity.values.items() if name != without}
    read = tuple(Fingerprint.of(str(file)) for file in files) or record.identity.input
    return replace(record, identity=Identity({**kept, **values}, read))


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """What a command is of."""
    (tmp_path / "rows.tsv").write_text("source\ttarget\n")
    told: dict[str, Any] = {"versions": {}, "host": "here", "python": "3", "started": "today", "nodes": 3}
    bare = RunRecord(identity=Identity({"epochs": 3, "optimizer.lr": 5e-5}), config={"mode": "train"}, **told)
    return changed(bare, tmp_path / "rows.tsv")


def trained(folder: TrainFolder, record: RunRecord) -> Trained:
    """What has come of it."""
    told: dict[str, Any] = {"protocol": "all", "base": "model", "finished": "today", "temperature": 1.5}
    return Trained(record=record, output_dir=folder.path, census={}, metrics={"test": {"accuracy": 0.5}}, **told)


def begun(path: Path, record: RunRecord, rejected: int = 0, *, overwrite: bool = False) -> TrainFolder:
    folder = TrainFolder(path)
    with folder.counting(overwrite=overwrite) as file:
        file.write(b"{}\n" * rejected)
    folder.begin(record, census_of(rejected))
    return folder


def tree(path: Path) -> dict[str, bytes | None]:
    return {str(one.relative_to(path)): one.read_bytes() if one.is_file() else None for one in path.rglob("*")}


def test_nothing_is_there(tmp_path: Path, record: RunRecord) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        for overwrite in (False, True):
            assert TrainFolder(tmp_path / name).state(record, overwrite=overwrite) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [None, "", "[1]", '{"format": "another"}', '{"input": []}'])
def test_what_no_training_has_written_is_left(
    tmp_path: Path, record: RunRecord, content: str | None, overwrite: bool
) -> None:
    path = tmp_path / "mine"
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    if content is not None:
        (path / "training.json").write_text(content)
    before = tree(path)
    with pytest.raises(UserError, match=r"mine: holds something that no training has written; choose another output"):
        TrainFolder(path).state(record, overwrite=overwrite)
    assert tree(path) == before


def test_a_file_is_no_folder(tmp_path: Path, record: RunRecord) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UserError, match="no training has written"):
        TrainFolder(tmp_path / "mine").state(record, overwrite=True)


def test_one_that_has_begun_goes_on_with_its_census(tmp_path: Path, record: RunRecord) -> None:
    begun(tmp_path / "out", record)
    state = TrainFolder(tmp_path / "out").state(record, overwrite=False)
    assert isinstance(state, TrainingBegun)
    assert state.census.to_json() == census_of().to_json()
    assert state.census.first.dtype == np.int64
    assert TrainFolder(tmp_path / "out").state(record, overwrite=True) is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_while_rows_were_counted_leaves_nothing_in_the_way(
    tmp_path: Path, record: RunRecord, overwrite: bool
) -> None:
    """Before training.json is there: what had been written by then is ours."""
    path = tmp_path / "out"
    path.mkdir()
    for name in ("rejected.jsonl.tmp-counted.tmp-17-abc", "rejected.jsonl.tmp-counted", "training.json.tmp-17-abc"):
        (path / name).write_text("{}\n")
        assert TrainFolder(path).state(record, overwrite=overwrite) is None
    folder = begun(path, record)
    folder.finish(trained(folder, record))
    assert set(tree(path)) == {"training.json", "run.json", "_SUCCESS"}


def test_rejected_rows_are_not_lost_to_a_kill(tmp_path: Path, record: RunRecord) -> None:
    """Between training.json and their name."""
    folder = begun(tmp_path / "out", record, 2)
    folder.rejected.replace(folder.counted)
    folder.settle()
    assert folder.rejected.read_bytes() == b"{}\n{}\n"


def test_somebody_elses_rejected_rows_are_not_ours(tmp_path: Path, record: RunRecord) -> None:
    (tmp_path / "rejected.jsonl").write_text("precious")
    with pytest.raises(UserError, match="holds something that no training has written"):
        TrainFolder(tmp_path).state(record, overwrite=True)


def test_rejected_rows_are_kept_where_there_are_any(tmp_path: Path, record: RunRecord) -> None:
    assert not begun(tmp_path / "none", record).rejected.exists()
    assert begun(tmp_path / "some", record, 2).rejected.read_bytes() == b"{}\n{}\n"


def test_a_census_that_fails_leaves_an_empty_folder(tmp_path: Path, record: RunRecord) -> None:
    folder = TrainFolder(tmp_path / "out")
    with pytest.raises(UserError, match="no such column"), folder.counting(overwrite=False) as file:  # noqa: PT012
        file.write(b"{}\n")
        raise UserError("no such column")
    assert tree(folder.path) == {}
    assert folder.state(record, overwrite=False) is None


def test_other_settings_are_named(tmp_path: Path, record: RunRecord) -> None:
    folder = begun(tmp_path / "out", record)
    before = tree(folder.path)
    other = changed(record, epochs=4, warmup=0.1)
    with pytest.raises(UserError) as caught:
        folder.state(other, overwrite=False)
    assert str(caught.value).endswith(
        "out: holds a training that is not finished, and of other settings: epochs was 3, is 4; warmup was null, is "
        "0.1. Go on with the same, choose another output_dir=, or start anew: overwrite=true"
    )
    folder.finish(trained(folder, record))
    with pytest.raises(UserError, match="holds a finished training of other settings: epochs was 3, is 4; warmup was"):
        folder.state(other, overwrite=False)
    assert folder.state(other, overwrite=True) is None
    assert before.items() <= tree(folder.path).items()


def test_another_input_is_named(tmp_path: Path, record: RunRecord) -> None:
    folder = begun(tmp_path / "out", record)
    rows = tmp_path / "rows.tsv"
    rows.write_text("source\ttarget\tevidence\n")
    with pytest.raises(UserError, match=r"rows\.tsv had 14 bytes, has 23"):
        folder.state(changed(record, rows), overwrite=False)
    rows.write_text("source\ttarget\n")
    os.utime(rows, ns=(1, record.identity.input[0].mtime_ns))
    assert isinstance(folder.state(changed(record, rows), overwrite=False), TrainingBegun)


def test_a_finished_one_is_told(tmp_path: Path, record: RunRecord) -> None:
    folder = begun(tmp_path / "out", record)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "last.ckpt").write_text("large")
    folder.finish(trained(folder, record))
    assert set(tree(folder.path)) == {"training.json", "run.json", "_SUCCESS"}, "no checkpoint is left"
    state = folder.state(record, overwrite=False)
    assert state == replace(trained(folder, record), before=True)
    assert folder.state(record, overwrite=True) is None


def test_to_overwrite_clears_what_is_ours_and_nothing_else(tmp_path: Path, record: RunRecord) -> None:
    folder = begun(tmp_path / "out", record, 1)
    folder.finish(trained(folder, record))
    foreign = ["notes.txt", "models/a.bin", "model.bak/b.bin", "metrics.json.old", "notes.txt.tmp-1"]
    ours = [name for name in OURS if name != "training.json"]
    ours += ["metrics.json.tmp-17-abc"]
    ours += [f"{name}/some/file" for name in (*OUR_FOLDERS, "rated-test-0123")]
    for name in foreign + ours:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text("x")
    before = tree(folder.path)
    assert folder.state(record, overwrite=True) is None
    assert tree(folder.path) == before, "to ask clears nothing"
    other = changed(record, without="epochs")
    begun(folder.path, other, overwrite=True)
    assert {name for name, content in tree(folder.path).items() if content is not None} == {*foreign, "training.json"}
    assert json.loads(folder.begun.read_text())["record"] == other.to_json()
    assert isinstance(folder.state(other, overwrite=False), TrainingBegun)


def test_to_overwrite_in_vain_leaves_a_folder_of_ours(tmp_path: Path, record: RunRecord) -> None:
    """The rows could not be counted: the next command may overwrite it, too, whatever else is in it."""
    folder = begun(tmp_path / "out", record)
    folder.finish(trained(folder, record))
    (folder.path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no such column"), folder.counting(overwrite=True):
        raise UserError("no such column")
    assert set(tree(folder.path)) == {"training.json", "notes.txt"}
    assert isinstance(folder.state(record, overwrite=False), TrainingBegun)
    assert folder.state(changed(record, without="epochs"), overwrite=True) is None
