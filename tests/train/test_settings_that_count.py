"""Settings that would be missed by nobody who looks at whether a training ends: calibration's rows, class weights."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import NODES, ROOT, write_lines

from stonkgs.cli import main
from stonkgs.evaluate.calibration import temperature
from stonkgs.evaluate.outcomes import Outcomes
from stonkgs.model.network import Network
from stonkgs.protocol import VALIDATION, Grouped
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement

LABELS = ("down", "up")


@pytest.fixture
def arguments(tmp_path: Path, kge_path: Path, model_path: Path) -> list[str]:
    """A training over 200 rows, of which one in four is up, half of them by chance."""
    draw = random.Random(0)
    rows = [["source", "target", "evidence", "polarity", "id"]]
    for n in range(200):
        label = "up" if n % 4 == 0 else "down"
        word = label if draw.random() < 0.5 else draw.choice(LABELS)
        rows.append([NODES[n % 9], NODES[n % 7], f"word{n} {word}s it", label, str(n)])
    write_lines(tmp_path / "rows.tsv", rows)
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv", f"model.path={model_path}"]
    return ["train", "task=polarity", *paths, "batch.size=16", "epochs=3", "logger=none", "optimizer.lr=0.005"]


@pytest.fixture
def sharpened(tmp_path: Path) -> list[str]:
    """A training that changes nothing, of the shipped model with logits four times as large, on 900 of its rows."""
    example = ROOT / "datasets" / "example"
    lines = (example / "statements.tsv").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "rows.tsv").write_text("".join(lines[:901]), "utf-8")
    network = Network.from_pretrained(example / "model")
    with torch.no_grad():
        for weight in network.classifier.parameters():
            weight.mul_(4)
    network.save_pretrained(tmp_path / "sharp")
    paths = [f"kge.path={example}/kge.h5", f"source.path={tmp_path}/rows.tsv", f"model.path={tmp_path}/sharp"]
    return ["train", "task=correct_binary", "task.column=label", *paths, "optimizer.lr=1e-9", "epochs=1", "logger=none"]


def test_the_temperature_is_that_of_the_validation_part(sharpened: list[str], tmp_path: Path) -> None:
    """Found again from what the model says of all rows, which is calibrated: so that is undone first."""
    protocol, labels = Grouped(validation=0.4), ("incorrect", "correct")
    assert main([*sharpened, "protocol.validation=0.4", f"output_dir={tmp_path}/out"]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    told, fit = record["temperature"], record["calibration"]
    assert fit["temperature"] == fit["fitted"] == told > 2
    assert fit["after"] < fit["before"]
    model = [f"model.path={tmp_path}/out/model", "mode=test", "protocol=all"]
    assert main([*sharpened, *model, f"output_dir={tmp_path}/all"]) == 0
    path = tmp_path / "all" / "test_predictions.parquet"
    raw, rows = Outcomes.read(path, labels).calibrated(1 / told), pq.read_table(path).select(ROLES).to_pylist()
    validated = np.array([protocol.part(Statement(**row), 0) == VALIDATION for row in rows])
    assert fit["rows"] == validated.sum() > 250
    wanted, other = temperature(raw.rows(validated)), temperature(raw.rows(~validated))
    assert told == pytest.approx(wanted, rel=0.002)
    assert abs(other - wanted) > 0.01 * wanted, "the other parts would give another one"
    card = (tmp_path / "out" / "model" / "README.md").read_text("utf-8")
    assert f"fitted on the {fit['rows']} rows of the validation part" in card


def test_balanced_weights_give_a_rare_class_its_share(arguments: list[str], tmp_path: Path) -> None:
    """Without a validation part the last weights are kept."""
    shares = {}
    for weights in ("null", "balanced"):
        out = tmp_path / weights
        assert main([*arguments, f"class_weights={weights}", "protocol.validation=0", f"output_dir={out}"]) == 0
        shares[weights] = float(np.mean(pq.read_table(out / "test_predictions.parquet")["up"].to_numpy()))
    assert shares["null"] < 0.35
    assert shares["balanced"] > shares["null"] + 0.1
