"""The record of a run: what decides, what is told, and what a file may say instead."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stonkgs.cli import main
from stonkgs.config import flatten
from stonkgs.runs.account import Account
from stonkgs.runs.finished import FinishedRun, read_finished
from stonkgs.runs.identity import MODEL, STORE, Identity
from stonkgs.runs.record import RunRecord
from stonkgs.source.fingerprint import Fingerprint

FILE = Fingerprint("/data/in.tsv", 57, 1, "5aea")
DIGEST = "d7befdf11048" + "0" * 52
IDENTITY = Identity({"batch.size": 32, "threads": None, MODEL: DIGEST, STORE: "234a", "torch": "2.13"}, (FILE,))
TOLD: dict[str, Any] = {"host": "here", "python": "3.11", "started": "today", "command": "stonkgs predict", "nodes": 9}
RECORD = RunRecord(
    identity=IDENTITY,
    config={"batch": {"size": 32}},
    versions={"torch": "2.13", "numpy": "2.4"},
    labels=("no", "yes"),
    multi_label=False,
    **TOLD,
)
ACCOUNT = Account(predicted=3, rejected=1, classes={"no": 1, "yes": 2}, without_row={"no agent": 4}, records=9)
FINISHED = FinishedRun(
    record=RECORD, plan="0123abcd", finished="now", splits=2, account=ACCOUNT, predictions="predictions.tsv"
)


def through_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


def test_a_record_comes_back_as_it_was() -> None:
    assert RunRecord.from_json(through_json(RECORD.to_json())) == RECORD
    assert FinishedRun.from_json(through_json(FINISHED.to_json())) == FINISHED
    bare = replace(RECORD, labels=(), multi_label=None)
    assert RunRecord.from_json(through_json(bare.to_json())) == bare


def test_people_find_what_they_look_for() -> None:
    values = FINISHED.to_json()
    assert values["model"] == {"labels": ["no", "yes"], "multi_label": False, "digest": DIGEST}
    assert values["kge"] == {"nodes": 9, "digest": "234a"}
    assert values["settings"] == {"threads": None}
    assert values["result"]["read"] == 4


def test_a_configuration_is_flattened_but_for_what_is_free() -> None:
    config = {"source": {"path": "x", "columns": {"source": "a"}, "limit": None}, "debug": True, "merge": False}
    assert dict(flatten(config, ("debug", "source.path"))) == {
        "source.columns.source": "a",
        "source.limit": None,
        "merge": False,
    }
    assert dict(flatten(config, ("source", "merge"))) == {"debug": True}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (IDENTITY, ""),
        (replace(IDENTITY, values={**IDENTITY.values, "threads": 2}), "threads was null, is 2"),
        (replace(IDENTITY, values={**IDENTITY.values, MODEL: None}), f"{MODEL} was d7befdf11048, is null"),
        (replace(IDENTITY, values={**IDENTITY.values, "part": "test"}), "part was null, is test"),
        (replace(IDENTITY, input=(replace(FILE, path="/elsewhere/in.tsv"),)), ""),
        (replace(IDENTITY, input=(replace(FILE, size=1_000),)), "/data/in.tsv had 57 bytes, has 1,000"),
        (replace(IDENTITY, input=(replace(FILE, ends="6"),)), "/data/in.tsv has another content"),
        (
            replace(IDENTITY, input=(replace(FILE, path="/o/my.tsv", size=9),)),
            "the input was /data/in.tsv, is /o/my.tsv",
        ),
        (
            replace(IDENTITY, input=(replace(FILE, path="/o/in.tsv", ends="6"),)),
            "the input was /data/in.tsv, is /o/in.tsv",
        ),
        (replace(IDENTITY, input=(FILE, FILE)), "the input was 1 files, is 2"),
        (
            Identity({**IDENTITY.values, "batch.size": 7}, (replace(FILE, mtime_ns=2),)),
            "/data/in.tsv was written at another time (cp -p keeps it); batch.size was 32, is 7",
        ),
    ],
)
def test_differences(now: Identity, told: str) -> None:
    assert IDENTITY.differences(now) == told


def test_what_was_left_open_is_taken_over() -> None:
    begun = IDENTITY.with_defaults({"threads": 4, "batch.size": 99, "split.rows": 2048})
    assert begun.values == {**IDENTITY.values, "threads": 4, "split.rows": 2048}
    assert not begun.differences(IDENTITY), "who says nothing goes on with what was decided"
    assert begun.differences(IDENTITY.with_defaults({"threads": 3})) == "threads was 4, is 3"


def change(*path: Any, to: Any) -> Callable[[Any], Any]:
    def changed(values: Any) -> Any:
        if len(path) == 1 and to is None:
            return {key: value for key, value in values.items() if key != path[0]}
        node = values
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to
        return values

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        *(change(key, to=None) for key in ("identity", "input", "config", "versions", "host", "started", "kge")),
        *(change(key, to=None) for key in ("plan", "splits", "result")),
        change("identity", to=[]),
        change("identity", "threads", to="\x1b[31m"),
        change("input", to={}),
        change("input", 0, to="in.tsv"),
        change("input", 0, "size", to="57"),
        change("input", 0, "more", to=1),
        change("versions", to=["torch"]),
        change("versions", "torch", to=2),
        change("model", "labels", to="yes"),
        change("model", "labels", to=["yes", None]),
        change("model", "multi_label", to="no"),
        change("kge", "nodes", to=True),
        change("splits", to="2"),
        change("result", to=[1]),
        change("result", "predicted", to="3"),
        change("result", "classes", to=3),
        change("result", "classes", to={"no": "1"}),
    ],
)
def test_a_record_from_elsewhere_is_one_line(damage: Callable[[Any], Any], tmp_path: Path) -> None:
    values = damage(through_json(FINISHED.to_json()))
    (tmp_path / "run.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"^is no record of this version$"):
        read_finished(tmp_path / "run.json")


@pytest.mark.parametrize("name", ["../predictions.tsv", "predictions.tsv/..", "parts/0", "notes.txt", 7, ["parts"]])
def test_names_that_predictions_never_have(name: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(FINISHED.to_json() | {"predictions": name}))
    assert main(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/run.json: {name!r} is no name of predictions\n"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 3}', '{"format": ["stonkgs-run-2"]}', "[" * 99_999, "\xff"]
)
def test_another_programs_run_json_is_none_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, "latin-1")
    assert read_finished(tmp_path / "run.json") is None
    assert read_finished(tmp_path / "nowhere.json") is None
