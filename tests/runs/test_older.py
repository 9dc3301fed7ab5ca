"""What earlier versions left, whose records had no identity: finished runs are read, those under way not continued."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.runs.record import RunRecord
from stonkgs.train.folder import TrainFolder

#: The keys of a run's record as that version wrote them. Its plan.json had them under `run`.
OLDER = ("started", "config", "settings", "input", "model", "kge", "host", "python", "versions")
#: And of a training's, where `deciding` was what now is the identity.
OF_TRAINING = ("started", "command", "config", "input", "kge", "host", "python", "versions")


def older(values: dict[str, Any]) -> dict[str, Any]:
    """The record as the earlier version wrote it; it had the store at another address."""
    values["config"]["kge"]["_target_"] = "stonkgs.encode.kge.KgeStore"
    values["model"].pop("multi_label")
    return {key: values[key] for key in OLDER}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def finished(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A finished run of the earlier version: its command, and its folder `out`."""
    command = ["predict", *small_run, "threads=1"]
    assert main(command) == 0
    values = read(tmp_path / "out" / "run.json")
    ended = {key: values[key] for key in ("plan", "finished", "splits", "result", "predictions")}
    text = json.dumps({"format": "stonkgs-run-2", **older(values), **ended}, indent=2)
    (tmp_path / "out" / "run.json").write_text(text)
    return command


def test_a_finished_run_is_read(finished: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    before = everything(out)
    assert main(finished) == 0
    assert main(["status", str(out)]) == 0
    assert capsys.readouterr().out.count("before; nothing was done") == 2
    assert main([*finished, "batch.size=7"]) == 1
    assert "holds a finished run of other settings: batch.size was 32, is 7. " in capsys.readouterr().err
    assert everything(out) == before
    assert main(["aggregate", str(out), "--by", "source", "--output", str(tmp_path / "s.tsv")]) == 0


@pytest.fixture
def begun(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A run of the earlier version that was stopped by its second row."""
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], [NODES[0], NODES[1], "HIF1A"], ["bad"]])
    command = ["predict", *small_run, "threads=1"]
    assert main([*command, "on_error=raise"]) == 1
    plan = read(tmp_path / "out" / "plan.json")
    text = json.dumps(plan | {"format": "stonkgs-plan-1", "run": older(plan["run"])}, indent=1)
    for path in (tmp_path / "out" / "plan.json", tmp_path / "out" / f"parts-{plan['id']}" / "_plan.json"):
        assert path.exists()
        path.unlink()  # they are one file
        path.write_text(text)
    return command


def test_a_run_under_way_is_not_continued(begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    before = everything(out)
    for command in (begun, [*begun, "batch.size=7"], ["status", str(out)]):
        capsys.readouterr()
        assert main(command) == 1
        assert capsys.readouterr().err == (
            f"error: {out}/plan.json: its run was begun by another version and is not continued; choose another "
            "output_dir=, or start anew: overwrite=true\n"
        )
    assert everything(out) == before
    assert main([*begun, "overwrite=true"]) == 0
    assert {path.name for path in out.iterdir()} == {"predictions.tsv", "rejected.jsonl", "run.json", "_SUCCESS"}


@pytest.fixture
def training(tmp_path: Path, kge_path: Path) -> list[str]:
    """The command of a training that takes a second, with what it needs."""
    rows = [[NODES[n % 9], NODES[n % 7], f"HIF1A {('falls', 'rises')[n % 2]} {n}", str(n % 2)] for n in range(60)]
    write_lines(tmp_path / "labelled.tsv", [["source", "target", "evidence", "label"], *rows])
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/labelled.tsv", f"output_dir={tmp_path}/out"]
    return ["train", "model=tfidf", "task.name=label", "task.column=label", *paths]


def older_training(values: dict[str, Any]) -> dict[str, Any]:
    """The same of a training."""
    deciding = {**values["identity"], "kge._target_": "stonkgs.encode.kge.KgeStore"}
    return {**{key: values[key] for key in OF_TRAINING}, "deciding": deciding}


def test_a_training(training: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FinishedRun, it is read; under way, it is refused. One is trained for both."""
    assert main(training) == 0
    out = tmp_path / "out"
    values, begun = read(out / "run.json"), read(out / "training.json")
    ended = {key: values[key] for key in ("protocol", "base", "finished", "census", "metrics", "temperature")}
    record = RunRecord.from_json(begun["record"])
    for name, content in (
        ("training.json", {"record": older_training(begun["record"]), "census": begun["census"]}),
        ("run.json", {**older_training(values), **ended}),
    ):
        (out / name).write_text(json.dumps({"format": "stonkgs-training-1", **content}, indent=2))
    before = everything(out)
    capsys.readouterr()
    assert main(training) == 0
    assert "before; nothing was done" in capsys.readouterr().out
    assert main([*training, "seed=1"]) == 1
    assert "holds a finished training of other settings: seed was 42, is 1. " in capsys.readouterr().err
    assert everything(out) == before

    for path in (out / "_SUCCESS", out / "run.json", out / "metrics.json"):
        path.unlink()
    before = everything(out)
    for more in ([], ["seed=1"]):
        assert main([*training, *more]) == 1
        assert capsys.readouterr().err == (
            f"error: {out}/training.json: its training was begun by another version and is not continued; choose "
            "another output_dir=, or start anew: overwrite=true\n"
        )
    assert everything(out) == before
    assert TrainFolder(out).state(record, overwrite=True) is None
