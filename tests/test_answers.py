"""From probabilities to classes, and what a model of several classes a row, or a calibrated one, answers."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LABELS, NODES

from stonkgs.batch import collate
from stonkgs.cli import main
from stonkgs.model.decision import class_names, predicted_classes
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement


def test_one_class_is_the_most_probable_and_the_first_of_equals() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.1, 0.8]], np.float32)
    assert predicted_classes(probabilities, multi_label=False).argmax(axis=1).tolist() == [1, 0, 2]
    assert predicted_classes(probabilities, multi_label=False).sum(axis=1).tolist() == [1, 1, 1]
    assert predicted_classes(np.zeros((0, 3), np.float32), multi_label=False).shape == (0, 3)


def test_of_several_all_that_reach_a_half() -> None:
    probabilities = np.array([[0.5, 0.9], [0.1, np.nextafter(np.float32(0.5), np.float32(0))], [0.49, 0.5]], np.float32)
    assert predicted_classes(probabilities, multi_label=True).tolist() == [[True, True], [False, False], [False, True]]


def test_names_are_joined_in_the_order_of_the_labels() -> None:
    classes = np.array([[True, False, True], [False, False, False], [False, True, False]])
    assert class_names(classes, ("z", "y", "x")) == ["z|x", "", "y"]
    assert class_names(np.zeros((0, 3), np.bool_), ("z", "y", "x")) == []


def changed(model: Path, folder: Path, **config: Any) -> Path:
    """A copy of a model with other values in its config.json."""
    shutil.copytree(model, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


#: Those of `small_run`.
ROWS = [Statement(*row) for row in ((NODES[0], NODES[1], "HIF1A"), ("nobody", NODES[2], ""), ("", "", "x y"))]


def logits(predictor: Predictor) -> torch.Tensor:
    """Of ROWS, from the network itself."""
    with torch.inference_mode():
        found: torch.Tensor = predictor.model(predictor.inputs(collate(list(enumerate(predictor.encoder()(ROWS))))))
    return found


def values(found: list[Any]) -> torch.Tensor:
    return torch.tensor([[row.probabilities[label] for label in LABELS] for row in found])


@pytest.fixture
def several(model_path: Path, kge_path: Path, tmp_path: Path) -> Path:
    """A model whose classes are each for themselves. Its bias is such that two rows have the one, one the other."""
    predictor = Predictor(changed(model_path, tmp_path / "raw", multi_label=True), kge_path, device="cpu")
    found = logits(predictor)
    with torch.no_grad():
        low, middle, high = found.sort(dim=0).values
        predictor.model.classifier.bias.sub_(torch.stack([low[0] + middle[0], middle[1] + high[1]]) / 2)
    predictor.model.save_pretrained(tmp_path / "several")
    return tmp_path / "several"


def test_several_classes_in_python(several: Path, kge_path: Path) -> None:
    predictor = Predictor(several, kge_path, device="cpu")
    found = predictor.predict(ROWS)
    wanted = torch.sigmoid(logits(predictor))
    torch.testing.assert_close(values(found), wanted, rtol=0, atol=1e-6)
    said = ["|".join(label for label, one in zip(LABELS, row.tolist(), strict=True) if one >= 0.5) for row in wanted]
    assert [row.prediction for row in found] == said
    assert len(set(said)) > 1
    assert (wanted.sum(dim=1) - 1).abs().max() > 1e-3, "probabilities that sum to 1 would be a softmax's"


def test_several_classes_on_disk(
    several: Path, kge_path: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument for argument in small_run if not argument.startswith("model.path")]
    out = Path(small_run[-1].partition("=")[2])
    assert main(["predict", f"model.path={several}", *arguments]) == 0, capsys.readouterr().err
    with open(out / "predictions.tsv", newline="", encoding="utf-8") as file:
        seen = list(csv.DictReader(file, delimiter="\t"))
    wanted = torch.sigmoid(logits(Predictor(several, kge_path, device="cpu"))).double().numpy()
    given = np.array([[float(row[label]) for label in LABELS] for row in seen])
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-5)
    assert [row["prediction"] for row in seen] == class_names(wanted >= 0.5, LABELS)
    counts = json.loads((out / "run.json").read_text())["result"]["classes"]
    assert counts == dict(zip(LABELS, (wanted >= 0.5).sum(axis=0).tolist(), strict=True))


def test_a_temperature_divides_the_logits(model_path: Path, kge_path: Path, tmp_path: Path) -> None:
    predictor = Predictor(changed(model_path, tmp_path / "hot", temperature=2.5), kge_path, device="cpu")
    wanted = torch.softmax(logits(predictor) / 2.5, dim=-1)
    torch.testing.assert_close(values(predictor.predict(ROWS)), wanted, rtol=0, atol=1e-6)
    plain = Predictor(model_path, kge_path, device="cpu")
    assert (values(plain.predict(ROWS)) - wanted).abs().max() > 1e-2
    both = Predictor(changed(model_path, tmp_path / "both", temperature=2.5, multi_label=True), kge_path, device="cpu")
    wanted = torch.sigmoid(logits(both) / 2.5)
    torch.testing.assert_close(values(both.predict(ROWS)), wanted, rtol=0, atol=1e-6)


def test_calibrated_or_not_on_disk(
    model_path: Path, kge_path: Path, small_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Either is asked for in one word, and one is never taken for the other."""
    hot = changed(model_path, tmp_path / "hot", temperature=2.5)
    arguments = [f"model.path={hot}", *(argument for argument in small_run if not argument.startswith("model.path"))]
    out = Path(small_run[-1].partition("=")[2])

    def predicted(*more: str) -> Any:
        assert main(["predict", *arguments, *more]) == 0, capsys.readouterr().err
        with open(out / "predictions.tsv", newline="", encoding="utf-8") as file:
            return np.array([[float(row[label]) for label in LABELS] for row in csv.DictReader(file, delimiter="\t")])

    raw = logits(Predictor(model_path, kge_path, device="cpu"))
    calibrated = predicted()
    np.testing.assert_allclose(calibrated, torch.softmax(raw / 2.5, dim=-1), rtol=0, atol=1e-5)
    capsys.readouterr()
    assert main(["predict", *arguments, "model.calibrated=false"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {out}: ")
    assert "the model's digest was " in error
    assert error.count("\n") == 1
    np.testing.assert_array_equal(predicted(), calibrated)
    plain = predicted("model.calibrated=false", "overwrite=true")
    np.testing.assert_allclose(plain, torch.softmax(raw, dim=-1), rtol=0, atol=1e-5)
