"""Whole trainings of every kind of task and model, their figures held against scikit-learn's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import NODES, write_lines
from sklearn.metrics import accuracy_score, f1_score

from stonkgs.cli import main
from stonkgs.model.network import Network
from stonkgs.protocol import TEST, Grouped
from stonkgs.statement import Statement

LABELS = ("down", "up")
HEADER = ["source", "target", "evidence", "polarity", "id"]


@pytest.fixture
def rows(tmp_path: Path) -> list[list[str]]:
    """Three of four are down, and say so; every tenth has both labels, or none."""
    rows = []
    for n in range(80):
        label = "up" if n % 4 == 0 else "down"
        given = {3: f"{label}|{'up' if label == 'down' else 'down'}", 7: ""}.get(n % 10, label)
        rows.append([NODES[n % 9], NODES[n % 7], f"word{n} {label}s it", given, str(n)])
    write_lines(tmp_path / "rows.tsv", [HEADER, *rows])
    return rows


@pytest.fixture
def arguments(tmp_path: Path, kge_path: Path, rows: list[list[str]]) -> list[str]:
    """All but the model and the output_dir."""
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv"]
    return ["train", "task=polarity", *paths, "batch.size=16", "epochs=1", "logger=none", "optimizer.lr=0.001"]


def trained(out: Path, *arguments: str) -> tuple[dict[str, Any], Any]:
    """Run it: metrics.json, and the rows of test_predictions.parquet."""
    assert main([*arguments, f"output_dir={out}"]) == 0
    table = pq.read_table(out / "test_predictions.parquet")
    assert (out / "_SUCCESS").exists()
    assert not list(out.glob("rated-*"))
    return json.loads((out / "metrics.json").read_text()), table


def scores(table: Any) -> np.ndarray[Any, Any]:
    return np.stack([table[label].to_numpy() for label in LABELS], axis=1)


def hot(values: list[str]) -> np.ndarray[Any, Any]:
    return np.array([[label in value.split("|") for label in LABELS] for value in values])


def ids_tested(rows: list[list[str]], *, several: bool) -> set[str]:
    """The labelled rows that the protocol tests."""
    used = [row for row in rows if row[3] and (several or "|" not in row[3])]
    protocol = Grouped()
    return {
        row[4] for number, row in enumerate(used) if protocol.part(Statement(row[0], row[1], row[2]), number) == TEST
    }


def check_single(metrics: dict[str, Any], table: Any, rows: list[list[str]]) -> None:
    """The figures are those of the rows that are there, and these are the test part."""
    assert set(table["id"].to_pylist()) == ids_tested(rows, several=False)
    assert len(set(table["id"].to_pylist())) == len(table)
    assert table["truth"].to_pylist() == table["polarity"].to_pylist()
    said = [LABELS[k] for k in scores(table).argmax(axis=1)]
    assert table["prediction"].to_pylist() == said
    truth = table["truth"].to_pylist()
    wanted = f1_score(truth, said, average="weighted", zero_division=0)
    assert metrics["test"]["weighted_f1"] == pytest.approx(wanted, abs=1e-6)
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy_score(truth, said), abs=1e-6)
    assert metrics["test"]["rows"] == len(table) > 5
    assert metrics["majority"]["accuracy"] == pytest.approx(truth.count("down") / len(truth), abs=1e-6)
    np.testing.assert_allclose(scores(table).sum(axis=1), 1, atol=1e-6)


def test_several_classes_a_row(arguments: list[str], model_path: Path, rows: list[list[str]], tmp_path: Path) -> None:
    options = ["task.multi_label=true", "class_weights=balanced", f"model.path={model_path}"]
    metrics, table = trained(tmp_path / "out", *arguments, *options)
    assert set(table["id"].to_pylist()) == ids_tested(rows, several=True)
    truth, said = hot(table["polarity"].to_pylist()), scores(table) >= 0.5
    assert truth.sum(axis=1).max() == 2, "a row of two classes is tested"
    assert (hot(table["truth"].to_pylist()) == truth).all()
    assert (hot(table["prediction"].to_pylist()) == said).all()
    for average in ("weighted", "macro"):
        wanted = f1_score(truth, said, average=average, zero_division=0)
        assert metrics["test"][f"{average}_f1"] == pytest.approx(wanted, abs=1e-6)
    assert metrics["test"]["accuracy"] == pytest.approx(float((truth == said).mean()), abs=1e-6)
    plots = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert {"confusion.png", "precision_recall.svg", "reliability.svg", "learning_curves.png"} <= plots
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["census"]["multi_label"]
    assert record["census"]["unused"] == {"unlabelled": 8}
    config = Network.from_pretrained(tmp_path / "out" / "model").config
    assert (config.multi_label, config.labels, config.temperature) == (True, LABELS, record["temperature"])
    # Tested as what it is, it gives the very figures.
    options = ["mode=test", "task.multi_label=true", f"model.path={tmp_path}/out/model"]
    again, _ = trained(tmp_path / "tested", *arguments, *options)
    assert again["test"] == metrics["test"]


@pytest.mark.parametrize(("kind", "several"), [("tfidf", False), ("tfidf_nodes", False), ("tfidf_nodes", True)])
def test_the_baseline_of_counted_words(
    kind: str, several: bool, arguments: list[str], rows: list[list[str]], tmp_path: Path
) -> None:
    options = [f"model={kind}", f"task.multi_label={str(several).lower()}", "class_weights=balanced"]
    metrics, table = trained(tmp_path / "out", *arguments, *options)
    assert not (tmp_path / "out" / "model").exists()
    if several:
        truth = hot(table["polarity"].to_pylist())
        wanted = f1_score(truth, scores(table) >= 0.5, average="weighted", zero_division=0)
        assert metrics["test"]["weighted_f1"] == pytest.approx(wanted, abs=1e-6)
    else:
        check_single(metrics, table, rows)
        assert metrics["test"]["accuracy"] == 1, "the evidence says it"


@pytest.mark.parametrize("kind", ["text_only", "graph_only"])
def test_baselines_of_a_half(
    kind: str, arguments: list[str], model_path: Path, rows: list[list[str]], tmp_path: Path
) -> None:
    options = [f"model={kind}", f"model.path={model_path}", "calibrate=false", "sampling=balanced"]
    metrics, table = trained(tmp_path / "out", *arguments, *options)
    check_single(metrics, table, rows)
    model = Network.from_pretrained(tmp_path / "out" / "model")
    assert (model.config.architecture, model.config.labels, model.config.temperature) == (kind, LABELS, 1)
    assert "test_uncalibrated" not in metrics


@pytest.mark.parametrize(("kind", "frozen"), [("text_only", False), ("stonkgs", True)])
@pytest.mark.parametrize("said", [None, True, False])
def test_what_is_frozen(
    kind: str, frozen: bool, said: bool | None, arguments: list[str], model_path: Path, tmp_path: Path
) -> None:
    """As published, unless somebody says otherwise: the text-only baseline is fine-tuned as a whole."""
    options = [f"model={kind}", f"model.path={model_path}", "epochs=1"]
    options += [] if said is None else [f"freeze_backbone={str(said).lower()}"]
    trained(tmp_path / "out", *arguments, *options)
    before, after = (Network.from_pretrained(path).state_dict() for path in (model_path, tmp_path / "out" / "model"))
    names = [name for name in after if name.startswith("lm_backbone.")]
    assert names
    same = all(torch.equal(before[name], after[name]) for name in names)
    assert same == (frozen if said is None else said)


def test_what_was_trained_is_tested_and_predicts_the_same(
    arguments: list[str], model_path: Path, kge_path: Path, rows: list[list[str]], tmp_path: Path
) -> None:
    options = [f"model.path={model_path}", "class_weights=balanced", "freeze_backbone=false"]
    metrics, table = trained(tmp_path / "out", *arguments, *options)
    check_single(metrics, table, rows)
    before, after = (Network.from_pretrained(path).state_dict() for path in (model_path, tmp_path / "out" / "model"))
    name = "lm_backbone.encoder.layer.0.output.dense.weight"
    assert not torch.equal(before[name], after[name]), "the backbone learns, too"
    temperature = json.loads((tmp_path / "out" / "run.json").read_text())["temperature"]
    assert Network.from_pretrained(tmp_path / "out" / "model").config.temperature == temperature
    assert (temperature != 1) == ("test_uncalibrated" in metrics)

    model = f"model.path={tmp_path}/out/model"
    again, tested = trained(tmp_path / "tested", *arguments, "mode=test", model)
    assert again["test"] == metrics["test"]
    assert tested.equals(table)
    everything, _ = trained(tmp_path / "everything", *arguments, "mode=test", "protocol=all", model)
    assert everything["test"]["rows"] == sum(1 for row in rows if row[3] in LABELS)

    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv", f"output_dir={tmp_path}/predicted"]
    assert main(["predict", model, *paths, "writer=parquet"]) == 0
    predicted = pq.read_table(tmp_path / "predicted" / "predictions.parquet")
    places = [predicted["id"].to_pylist().index(one) for one in table["id"].to_pylist()]
    np.testing.assert_allclose(scores(predicted)[places], scores(table), rtol=0, atol=1e-6)
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert f"{metrics['test']['weighted_f1']:.4f}" in card


@pytest.mark.parametrize(("logger", "files"), [("csv", "metrics.csv"), ("tensorboard", "events.out.tfevents.*")])
def test_lightnings_loggers(logger: str, files: str, arguments: list[str], model_path: Path, tmp_path: Path) -> None:
    options = [f"model.path={model_path}", f"logger={logger}", "log_every=2", "epochs=2"]
    trained(tmp_path / "out", *arguments, *options)
    (logged,) = (tmp_path / "out" / "logs").rglob(files)
    if logger == "csv":
        text = logged.read_text()
        assert {"step", "train/loss", "validation/macro_f1", "learning_rate"} <= set(text.split("\n")[0].split(","))


def test_a_process_group_of_one(arguments: list[str], model_path: Path, tmp_path: Path) -> None:
    """What is reduced over processes is reduced also here; notes of the loss fall into the midst of laps."""
    options = [f"model.path={model_path}", "log_every=3", "epochs=3", "batch.size=8"]
    trained(tmp_path / "alone", *arguments, *options)
    trained(tmp_path / "group", *arguments, *options, "trainer.strategy=ddp")
    one, other = ((tmp_path / name / "history.csv").read_text() for name in ("alone", "group"))
    assert one == other
