"""Predictions beside the truth: reading, calibrating, the majority class."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.evaluate.outcomes import BATCH_ROWS, Outcomes, majority

LABELS = ("no", "yes", "a.b")


def written(path: Path, truth: list[Any], *, prefix: str = "", labels: tuple[str, ...] = LABELS) -> np.ndarray:
    """A file of random probabilities, which are given back."""
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(labels)), len(truth)).astype(np.float32)
    columns = {prefix + label: pa.array(probabilities[:, k]) for k, label in enumerate(labels)}
    pq.write_table(pa.table({"source": ["x"] * len(truth), **columns, "truth": pa.array(truth, pa.string())}), path)
    return probabilities


def test_reads_every_row_in_its_order(tmp_path: Path) -> None:
    truth = [LABELS[n * n % 3] for n in range(BATCH_ROWS + 5)]
    probabilities = written(tmp_path / "p", truth, prefix="p_")
    read = Outcomes.read(tmp_path / "p", LABELS, prefix="p_")
    assert (read.probabilities == probabilities).all()
    assert read.probabilities.dtype == np.float32
    assert [LABELS[k] for k in read.targets] == truth
    assert (read.predicted == probabilities.argmax(axis=1)).all()
    assert not read.multi_label


def test_reads_several_classes_of_a_row(tmp_path: Path) -> None:
    truth = ["yes|no", "", "a.b"] * BATCH_ROWS
    written(tmp_path / "p", truth)
    read = Outcomes.read(tmp_path / "p", LABELS, multi_label=True)
    assert read.targets.dtype == np.bool_
    assert (read.targets == np.tile([[1, 1, 0], [0, 0, 0], [0, 0, 1]], (BATCH_ROWS, 1))).all()


@pytest.mark.parametrize("multi_label", [False, True])
def test_reads_a_file_of_no_rows(tmp_path: Path, multi_label: bool) -> None:
    written(tmp_path / "p", [])
    assert len(Outcomes.read(tmp_path / "p", LABELS, multi_label=multi_label)) == 0


@pytest.mark.parametrize(
    ("truth", "multi_label", "message"),
    [
        (["no"] * BATCH_ROWS + ["maybe"], False, f"row {BATCH_ROWS + 1}: 'maybe' is no class"),
        (["no", None], False, "row 2: None is no class"),
        (["no", ""], False, "row 2: '' is no class"),
        (["no", "", "yes|maybe"], True, "row 3: 'maybe' is no class"),
        (["no|yes", None], True, "row 2: None is no class"),
    ],
)
def test_names_what_is_no_class(tmp_path: Path, truth: list[Any], multi_label: bool, message: str) -> None:
    written(tmp_path / "p", truth)
    with pytest.raises(UserError, match=message):
        Outcomes.read(tmp_path / "p", LABELS, multi_label=multi_label)


def test_names_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    written(tmp_path / "p", ["no"])
    for labels in [("no", "other"), ("no", "truth")]:
        with pytest.raises(UserError, match=f"needs one column '{labels[1]}'"):
            Outcomes.read(tmp_path / "p", labels)
    with pytest.raises(UserError, match="row 1: 'no' is no class"):
        Outcomes.read(tmp_path / "p", ("yes", "a.b"))
    with pytest.raises(UserError, match="separates"):
        Outcomes.read(tmp_path / "p", ("a|b",), multi_label=True)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        Outcomes.read(tmp_path / "none", LABELS)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, None])
def test_refuses_what_is_no_probability(tmp_path: Path, value: float | None) -> None:
    table = pa.table({"a": pa.array([0.5, value]), "b": [0.5, 0.5], "truth": ["a", "b"]})
    pq.write_table(table, tmp_path / "p")
    with pytest.raises(UserError, match=r"p: row 2: .*are no probabilities"):
        Outcomes.read(tmp_path / "p", ("a", "b"))


def test_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        Outcomes(("a", "b"), np.zeros((3, 3), np.float32), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="targets"):
        Outcomes(("a", "b"), np.zeros((3, 2), np.float32), np.zeros(2, np.int64))


def test_calibrates_as_the_formula_says() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], np.float32)
    scaled = Outcomes(LABELS, probabilities, np.zeros(2, np.int64)).calibrated(2.0).probabilities
    roots = np.sqrt(probabilities.astype(float))  # softmax(log p / 2) is the root of p, to a sum of 1
    np.testing.assert_allclose(scaled, roots / roots.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-18)
    several = Outcomes(LABELS, probabilities, np.zeros((2, 3), np.bool_)).calibrated(2.0).probabilities
    odds = np.sqrt(probabilities[0] / (1 - probabilities[0].astype(float)))
    np.testing.assert_allclose(several[0], odds / (1 + odds), rtol=1e-6)
    with pytest.raises(ValueError, match="temperature"):
        Outcomes(LABELS, probabilities, np.zeros(2, np.int64)).calibrated(0.0)


@given(st.integers(0, 99), st.floats(0.3, 10), st.booleans())
def test_calibrating_is_undone_and_changes_no_prediction(seed: int, temperature: float, multi_label: bool) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), 20).astype(np.float32)
    targets = np.zeros((20, 3), np.bool_) if multi_label else np.zeros(20, np.int64)
    outcomes = Outcomes(LABELS, probabilities, targets)
    scaled = outcomes.calibrated(temperature)
    assert scaled.probabilities.dtype == np.float32
    assert (scaled.predicted == outcomes.predicted).all()
    again = scaled.calibrated(1 / temperature).probabilities
    # Of a probability near 1 a float32 has few digits below 1; of its logit it has all.
    np.testing.assert_allclose(again, probabilities, atol=2e-3 if multi_label else 1e-4)
    exact = replace(outcomes, exact_logits=outcomes.logits.numpy().astype(np.float32))
    again = exact.calibrated(temperature).calibrated(1 / temperature).probabilities
    np.testing.assert_allclose(again, probabilities, atol=1e-6)


def test_says_the_most_frequent_class_of_training() -> None:
    outcomes = Outcomes(LABELS, np.full((4, 3), 1 / 3, np.float32), np.array([0, 1, 2, 0]))
    same = majority(outcomes, [20, 70, 10], 100)
    assert same.predicted.tolist() == [1] * 4
    assert same.targets is outcomes.targets
    np.testing.assert_array_equal(same.probabilities, np.tile(np.array([0.2, 0.7, 0.1], np.float32), (4, 1)))
    several = Outcomes(LABELS, outcomes.probabilities, np.zeros((4, 3), np.bool_))
    assert majority(several, [20, 70, 50], 100).predicted.tolist() == [[False, True, True]] * 4
    assert majority(outcomes, [0, 0, 0], 0).probabilities.sum(axis=1) == pytest.approx(1)
    assert not majority(several, [0, 0, 0], 0).predicted.any()
