"""Temperature scaling finds what it should."""

import numpy as np
import pytest
import torch

from stonkgs.evaluate.calibration import temperature
from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes


def honest(multi_label: bool, rows: int = 20_000) -> Outcomes:
    """Rows whose truth is drawn from their very probabilities."""
    random = np.random.default_rng(5)
    logits = torch.from_numpy(random.normal(size=(rows, 3)) * 1.5)
    probabilities = (logits.sigmoid() if multi_label else logits.softmax(dim=1)).numpy()
    if multi_label:
        targets = random.random((rows, 3)) < probabilities
    else:
        targets = (probabilities.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1).clip(max=2)
    return Outcomes(("a", "b", "c"), probabilities.astype(np.float32), targets)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("sharpening", [0.4, 1.0, 3.0])
def test_gives_back_how_much_was_sharpened(multi_label: bool, sharpening: float) -> None:
    truth = honest(multi_label)
    sharpened = truth.calibrated(1 / sharpening)
    found = temperature(sharpened)
    assert found == pytest.approx(sharpening, rel=0.05)
    assert found == temperature(sharpened) == float(f"{found:.4g}")
    calibrated = sharpened.calibrated(found)
    assert (calibrated.predicted == sharpened.predicted).all()
    best = metrics(calibrated)["nll"]
    for other in (found * 1.05, found / 1.05):
        assert metrics(sharpened.calibrated(other))["nll"] > best
    assert metrics(calibrated)["ece"] < 0.02


@pytest.mark.parametrize("targets", [[0, 1], [1, 0]])
def test_where_no_temperature_is_the_best_one_they_stay(targets: list[int]) -> None:
    """All right: sharper is better without an end. All wrong: flatter is."""
    sure = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    assert temperature(Outcomes(("a", "b"), sure, np.array(targets))) == 1.0


@pytest.mark.parametrize("targets", [np.zeros(0, np.int64), np.zeros((0, 2), np.bool_)])
def test_no_rows_change_nothing(targets: np.ndarray) -> None:
    assert temperature(Outcomes(("a", "b"), np.zeros((0, 2), np.float32), targets)) == 1.0
