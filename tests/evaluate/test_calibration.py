"""Temperature scaling finds what it should."""

import numpy as np
import pytest
import torch

from stonkgs.evaluate.calibration import calibration, temperature
from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes


def honest(multi_label: bool, rows: int = 20_000, seed: int = 5) -> Outcomes:
    """Rows whose truth is drawn from their very probabilities."""
    random = np.random.default_rng(seed)
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


@pytest.mark.parametrize("multi_label", [False, True])
def test_few_rows_of_a_calibrated_model_stay_as_they_are(multi_label: bool) -> None:
    """The best temperature of 67 rows is chance: on others it does harm more often than good."""
    found = [calibration(honest(multi_label, 67, seed)) for seed in range(20)]
    assert max(abs(one.fitted - 1) for one in found) > 0.2, "it would move them"
    assert sum(one.temperature != 1 for one in found) <= 3
    for one in found:
        assert one.rows == 67
        assert one.temperature in (1.0, one.fitted)
        assert one.before is not None
        assert one.after is not None
        assert one.temperature == 1 or one.after < one.before


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("sharpening", [0.4, 3.0])
def test_a_temperature_that_helps_is_kept(multi_label: bool, sharpening: float) -> None:
    sharpened = honest(multi_label, 2000).calibrated(1 / sharpening)
    found = calibration(sharpened)
    assert found.temperature == found.fitted == temperature(sharpened) == pytest.approx(sharpening, rel=0.15)


@pytest.mark.parametrize("rows", range(8))
def test_hardly_any_rows(rows: int) -> None:
    few = honest(False, rows)
    found = calibration(few)
    assert found.rows == rows
    assert found.temperature == 1 or rows > 3


def test_a_sorted_file_has_the_classes_in_both_halves() -> None:
    """A cut in the middle would fit each half on rows of one class."""
    truth = honest(False, 2000)
    order = np.argsort(truth.targets, kind="stable")
    rows = Outcomes(truth.labels, truth.probabilities[order], truth.targets[order]).calibrated(1 / 3)
    assert calibration(rows).temperature == pytest.approx(3, rel=0.15)


def test_logits_of_sure_rows_are_not_taken_back_from_probabilities() -> None:
    """A sigmoid of 17 and more is 1 in float32, whatever it was made of."""
    random = np.random.default_rng(2)
    logits = random.normal(size=(4000, 2)) * 3
    truth = random.random((4000, 2)) < torch.from_numpy(logits).sigmoid().numpy()
    sharp = (logits * 7).astype(np.float32)
    probabilities = torch.from_numpy(sharp).sigmoid().numpy()
    assert (np.abs(sharp) > 17).mean() > 0.3
    blind = Outcomes(("a", "b"), probabilities, truth)
    exact = Outcomes(("a", "b"), probabilities, truth, exact_logits=sharp)
    assert temperature(exact) == pytest.approx(7, rel=0.06)
    assert abs(temperature(blind) - 7) > 1
    both = exact.calibrated(7).calibrated(1 / 7)
    np.testing.assert_allclose(both.logits.numpy(), sharp, rtol=1e-6)
    wanted = -np.log(np.where(truth, 1, 1 - 1 / (1 + np.exp(-logits))) * np.where(truth, 1 / (1 + np.exp(-logits)), 1))
    assert metrics(exact.calibrated(7))["nll"] == pytest.approx(wanted.mean(), rel=1e-5)
    assert exact.rows(truth[:, 0]).exact_logits is not None
