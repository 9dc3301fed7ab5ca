"""Metrics, against scikit-learn and the formulas."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk  # type: ignore[import-untyped, unused-ignore]
from torchmetrics.functional.classification import multiclass_calibration_error

from stonkgs.evaluate.metrics import BINS, metrics
from stonkgs.evaluate.outcomes import Bools, Ints, Outcomes


def some(seed: int, rows: int, classes: int, multi_label: bool = False, coarse: bool = False) -> Outcomes:
    """Random predictions that know something; the last of more than two classes is never true. `coarse`: with ties."""
    random = np.random.default_rng(seed)
    present = classes - (classes > 2)
    targets: Ints | Bools
    if multi_label:
        targets = random.random((rows, classes)) < 0.4
        targets[:, present:] = False
        probabilities = random.random((rows, classes)) * 0.7 + targets * 0.3
    else:
        targets = random.integers(0, present, rows)
        probabilities = random.dirichlet(np.ones(classes), rows) * 0.7 + np.eye(classes)[targets] * 0.3
    if coarse:
        probabilities = probabilities.round(1)
    return Outcomes(tuple(f"class {k}" for k in range(classes)), probabilities.astype(np.float32), targets)


#: Metrics that may be negative.
SIGNED: set[str] = set()
CASES = [(seed, 60, classes, multi) for seed in range(3) for classes in (2, 3, 7) for multi in (False, True)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("coarse", [False, True])
def test_scores_of_decisions_are_those_of_scikit_learn(case: tuple[int, int, int, bool], coarse: bool) -> None:
    outcomes = some(*case, coarse=coarse)
    found = metrics(outcomes)
    both = (outcomes.targets, outcomes.predicted)
    labels = {"labels": range(len(outcomes.labels)), "zero_division": 0}
    assert found["weighted_f1"] == pytest.approx(sk.f1_score(*both, average="weighted", **labels), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(*both, average="macro", **labels), abs=1e-12)
    assert found["accuracy"] == pytest.approx((both[0] == both[1]).mean())
    each = zip(*sk.precision_recall_fscore_support(*both, **labels), strict=True)
    for score, expected in zip(found["per_class"].values(), each, strict=True):
        ours = [score[name] or 0.0 for name in ("precision", "recall", "f1", "rows")]
        assert ours == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("coarse", [False, True])
def test_areas_are_those_of_scikit_learn(case: tuple[int, int, int, bool], coarse: bool) -> None:
    outcomes = some(*case, coarse=coarse)
    found = metrics(outcomes)
    areas: dict[str, list[float]] = {"auroc": [], "auprc": []}
    for label, probabilities, true in zip(outcomes.labels, outcomes.probabilities.T, outcomes.true.T, strict=True):
        score = found["per_class"][label]
        if not true.any():
            assert score["auroc"] is None
            assert score["auprc"] is None
            continue
        assert score["auroc"] == pytest.approx(sk.roc_auc_score(true, probabilities), abs=1e-6)
        assert score["auprc"] == pytest.approx(sk.average_precision_score(true, probabilities), abs=1e-6)
        for name, values in areas.items():
            values.append(score[name])
    assert found["auroc"] == pytest.approx(np.mean(areas["auroc"]))
    assert found["auprc"] == pytest.approx(np.mean(areas["auprc"]))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_of_probabilities_of_one_label(classes: int) -> None:
    outcomes = some(1, 60, classes)
    found = metrics(outcomes)
    probabilities = outcomes.probabilities.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    given_rows = (outcomes.targets, probabilities[:, 1] if classes == 2 else probabilities)
    assert found["nll"] == pytest.approx(sk.log_loss(*given_rows, labels=range(classes)), rel=1e-6)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(*given_rows, labels=range(classes)), rel=1e-6)
    tensors = (torch.from_numpy(outcomes.probabilities), torch.from_numpy(outcomes.targets))
    expected = multiclass_calibration_error(*tensors, num_classes=classes, n_bins=BINS, norm="l1")
    assert found["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_scores_of_probabilities_of_several_labels() -> None:
    outcomes = some(1, 60, 2, multi_label=True)
    found = metrics(outcomes)
    columns = list(zip(outcomes.targets.T, outcomes.probabilities.T.astype(float), strict=True))
    briers = [sk.brier_score_loss(*column) for column in columns]
    assert [score["brier"] for score in found["per_class"].values()] == pytest.approx(briers, rel=1e-6)
    assert found["brier"] == pytest.approx(sum(briers), rel=1e-6)
    assert found["nll"] == pytest.approx(np.mean([sk.log_loss(*column) for column in columns]), rel=1e-6)


def test_calibration_error_by_hand() -> None:
    # 0.9 twice, one of them right, and 0.6 right: (2 |0.5 - 0.9| + |1 - 0.6|) / 3. And 1 is in the bin of 0.99.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], np.float32)
    assert metrics(Outcomes(("a", "b"), probabilities, np.array([0, 1, 1])))["ece"] == pytest.approx(0.4)
    sure = np.array([[1.0, 0.0], [0.98, 0.02]], np.float32)
    assert metrics(Outcomes(("a", "b"), sure, np.array([1, 0])))["ece"] == pytest.approx(0.99 - 0.5, abs=1e-6)


def test_a_rounded_probability_above_one_is_no_logit() -> None:
    outcomes = some(0, 60, 3)
    probabilities = outcomes.probabilities.copy()
    probabilities[0] = [0, 0, np.nextafter(np.float32(1), np.float32(2))]
    ours = metrics(Outcomes(outcomes.labels, probabilities, outcomes.targets))
    probabilities[0, 2] = 1
    assert ours == metrics(Outcomes(outcomes.labels, probabilities, outcomes.targets))
    assert ours["nll"] == pytest.approx(metrics(outcomes)["nll"], abs=2.0)  # of one row in 60: 87 nats


def test_what_is_undefined_is_none() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]], np.float32)
    found = metrics(Outcomes(("a", "b", "c"), probabilities, np.array([0, 1])))
    a, b, c = found["per_class"].values()
    assert (a["precision"], a["recall"], b["precision"], b["recall"], b["f1"]) == (0.5, 1.0, None, 0.0, 0.0)
    assert [c[name] for name in ("rows", "precision", "recall", "f1", "auroc", "auprc")] == [0, *[None] * 5]
    assert found["macro_f1"] == pytest.approx(2 / 3 / 3)
    assert found["auroc"] == 1.0
    everywhere = metrics(Outcomes(("a", "b", "c"), probabilities, np.array([0, 0])))
    assert everywhere["auroc"] is everywhere["per_class"]["a"]["auprc"] is None
    assert everywhere["weighted_f1"] == 1.0


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 5), st.booleans(), st.booleans())
def test_never_raises_warns_or_is_not_a_number(
    seed: int, rows: int, classes: int, multi_label: bool, coarse: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics(some(seed, rows, classes, multi_label, coarse))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(found["per_class"]) == classes
    for scores in (found, *found["per_class"].values()):
        assert {type(number) for number in scores.values()} <= {int, float, type(None), dict}
        negative = {name for name, number in scores.items() if isinstance(number, float) and number < 0}
        assert negative <= SIGNED
    if rows:
        assert math.isfinite(found["nll"])
    else:
        assert {value for name, value in found.items() if name not in {"rows", "per_class"}} == {None}
