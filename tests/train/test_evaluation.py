"""Ratings: what figures and calibration read of them is what the network has said, also where a probability is 1."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT

from stonkgs.batch import Batches
from stonkgs.cli import main
from stonkgs.evaluate.calibration import temperature
from stonkgs.evaluate.outcomes import Outcomes
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.protocol import PARTS, TEST, TRAIN, VALIDATION, Grouped
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement
from stonkgs.train.census import Census
from stonkgs.train.evaluation import figures, remarks
from stonkgs.train.logits import logits_field
from stonkgs.train.task import Classes

EXAMPLE = ROOT / "datasets" / "example"
LABELS = ("incorrect", "correct")


@pytest.fixture
def sure(tmp_path: Path) -> Path:
    """The shipped model as a multi-label one, its logits ten times as large; and 600 rows, some of them twice."""
    lines = (EXAMPLE / "statements.tsv").read_text("utf-8").splitlines(keepends=True)
    wrong = [line.replace("\tincorrect\t", "\tcorrect\t") for line in lines[1:601:5]]
    (tmp_path / "rows.tsv").write_text("".join([*lines[:601], *wrong]), "utf-8")
    network = Network.from_pretrained(EXAMPLE / "model")
    network.config = replace(network.config, multi_label=True, temperature=1.0)
    with torch.no_grad():
        for weight in network.classifier.parameters():
            weight.mul_(10)
    network.save_pretrained(tmp_path / "sure")
    return tmp_path / "sure"


def outcomes(folder: Path, rows: Path) -> dict[str, Outcomes]:
    """What the network says of the rows of each part, asked directly."""
    predictor = Predictor(str(folder), str(EXAMPLE / "kge.h5"), device="cpu")
    protocol = Grouped(validation=0.3)
    logits: dict[str, list[Any]] = {part: [] for part in PARTS}
    targets: dict[str, list[list[bool]]] = {part: [] for part in PARTS}
    for batch in Batches(source=TsvSource(path=str(rows)), encoder=predictor.encoder(), size=64, window=4096):
        for row, said in zip(batch.columns.to_pylist(), predictor.logits(batch).numpy(), strict=True):
            part = protocol.part(Statement(row["source"], row["target"], row["evidence"]), 0)
            logits[part].append(said)
            targets[part].append([row["label"] == label for label in LABELS])
    return {part: exact(np.array(logits[part]), np.array(targets[part])) for part in PARTS}


def exact(logits: Any, targets: Any) -> Outcomes:
    return Outcomes(LABELS, torch.from_numpy(logits).sigmoid().numpy(), targets, exact_logits=logits)


def test_figures_and_temperature_are_those_of_the_logits(sure: Path, tmp_path: Path) -> None:
    paths = [f"kge.path={EXAMPLE}/kge.h5", f"source.path={tmp_path}/rows.tsv", f"model.path={sure}"]
    task = ["task=correct_binary", "task.column=label", "task.multi_label=true", "protocol.validation=0.3"]
    out = tmp_path / "out"
    options = ["optimizer.lr=1e-12", "epochs=1", "logger=none", f"output_dir={out}"]
    assert main(["train", *task, *paths, *options]) == 0
    wanted = outcomes(sure, tmp_path / "rows.tsv")
    record, told = (json.loads((out / name).read_text()) for name in ("run.json", "metrics.json"))
    fitted = temperature(wanted[VALIDATION])
    assert record["temperature"] == record["calibration"]["fitted"] == pytest.approx(fitted, rel=0.002)
    blind = Outcomes(LABELS, wanted[VALIDATION].probabilities, wanted[VALIDATION].targets)
    assert abs(temperature(blind) - fitted) > 0.1 * fitted, "probabilities alone would give another one"
    assert told["test_uncalibrated"]["nll"] == pytest.approx(float(wanted[TEST].losses.mean()), rel=1e-4)
    assert told["test"]["nll"] == pytest.approx(float(wanted[TEST].calibrated(fitted).losses.mean()), rel=1e-3)
    (validation,) = [row for row in (out / "history.csv").read_text().splitlines()[1:] if row.count(",") >= 4]
    assert float(validation.split(",")[2]) == pytest.approx(float(wanted[VALIDATION].losses.mean()), rel=1e-4)
    kept = pq.read_table(out / "test_predictions.parquet")
    assert "logits" not in kept.column_names
    probabilities = np.stack([kept[label].to_numpy() for label in LABELS], axis=1)
    calibrated = wanted[TEST].calibrated(record["temperature"]).probabilities
    np.testing.assert_allclose(np.sort(probabilities, axis=0), np.sort(calibrated, axis=0), atol=1e-5)


def test_the_column_of_logits_gets_a_name_that_is_free() -> None:
    assert logits_field(3, ["truth"]).name == "logits"
    assert logits_field(3, ["logits", "logits_"]).name == "logits__"


def said(decisions: list[int], true: list[int], counts: list[int], *, multi_label: bool = False) -> list[str]:
    """What is remarked of a model that decides so."""
    hot = np.eye(2, dtype=np.float32)
    probabilities = np.array([hot[k] if k >= 0 else (0, 0) for k in decisions], np.float32)
    targets = hot[true].astype(bool) if multi_label else np.array(true)
    test = Outcomes(LABELS, probabilities, targets)
    parts = {TRAIN: dict(zip(LABELS, counts, strict=True))}
    classes = Classes(LABELS, multi_label, parts[TRAIN])
    census = Census(classes, parts, {TRAIN: sum(counts)}, {}, np.zeros(1, np.int64))
    return list(remarks(test, figures(test, None, census, "")))


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_model_that_says_the_same_of_every_row_is_told(multi_label: bool) -> None:
    (told,) = said([1, 1, 1, 1], [1, 1, 1, 0], [3, 9], multi_label=multi_label)
    assert told.startswith("the model says 'correct' of every row of the test part, as the majority baseline does: ")
    (told,) = said([0, 0, 0, 0], [1, 1, 1, 0], [3, 9], multi_label=multi_label)
    assert told.startswith("the model says 'incorrect' of every row of the test part: it has not learned")
    (told,) = said([1, 1, 0, 1], [0, 0, 1, 1], [3, 9], multi_label=multi_label)
    assert told.startswith("the macro F1 of 0.200 is not above that of always saying the most frequent class: ")
    assert not said([1, 1, 0, 1], [1, 1, 0, 0], [3, 9], multi_label=multi_label)
    assert not said([1, 1, 1], [1, 1, 1], [3, 9], multi_label=multi_label), "there is nothing to tell apart"
    assert not said([1], [0], [3, 9], multi_label=multi_label), "one row says nothing"


def test_a_model_that_says_nothing_of_any_row_is_told() -> None:
    (told,) = said([-1, -1, -1], [1, 1, 0], [3, 9], multi_label=True)
    assert told.startswith("the model says of no row of the test part that it has a class: ")
