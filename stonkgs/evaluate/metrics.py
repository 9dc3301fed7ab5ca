"""Computes the metrics of predictions: F1, accuracy, AUROC, Brier score, calibration error and others."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_stat_scores,
)

from stonkgs.evaluate.outcomes import Bools, Floats, Outcomes

#: The number of equal-width bins of confidence, as in Guo et al. 2017.
BINS = 15
#: The largest float32 below 1. torchmetrics would put exactly 1 into a bin of its own.
BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


def metrics(outcomes: Outcomes) -> dict[str, Any]:
    """Returns all metrics of N predictions as Python numbers for JSON, None where one is undefined.

    - `rows`: N.
    - `weighted_f1`, `macro_f1`: means over all K classes of F1 = 2 TP / (2 TP + FP + FN), by rows of the class and
      plain; 0/0 counts as 0, as in scikit-learn with `zero_division=0`. A multi-label task without a single positive
      has a weighted F1 of 0.
    - `accuracy`: the share of rows whose class is right; multi-label: of (row, class) decisions.
    - `auroc`, `auprc`: area under the ROC curve, and average precision, the step-wise area under the precision-recall
      curve; each class against the rest, plain means over the classes that have rows and do not have all.
    - `brier`: the mean over rows of the sum over classes of (p - y)² (Brier 1950, Mon. Weather Rev. 78:1); for two
      classes of a single label half of that, (p₁ - y)², the usual binary definition.
    - `ece`: expected calibration error of the most probable class, BINS equal bins (Guo et al. 2017, ICML, eq. 3);
      multi-label: the mean over classes of that of p.
    - `nll`: negative log-likelihood, the mean of -ln p of the true class; multi-label: the mean over rows and classes,
      with 1 - p where the class is absent. It is computed from the logits where they are known; else p is at least the
      smallest normal float32.
    - `per_class`: for each label `rows` and, of the class against the rest, `precision`, `recall`, `f1` (None where
      0/0), `auroc`, `auprc`, `brier` = mean (p - y)².
    """
    probabilities, true, decisions = _clipped(outcomes), outcomes.true, outcomes.decisions
    scores = [_one_class(probabilities[:, k], decisions[:, k], true[:, k]) for k in range(len(outcomes.labels))]
    f1 = [score["f1"] for score in scores]
    has_rows = len(outcomes) > 0
    return {
        "rows": len(outcomes),
        "weighted_f1": weighted_f1(f1, [score["rows"] for score in scores]) if has_rows else None,
        "macro_f1": macro_f1(f1) if has_rows else None,
        "accuracy": _mean(outcomes.predicted == outcomes.targets),
        "auroc": _mean(score["auroc"] for score in scores),
        "auprc": _mean(score["auprc"] for score in scores),
        "brier": _brier(outcomes, [score["brier"] for score in scores]),
        "ece": expected_error(outcomes),
        "nll": _mean(outcomes.losses.numpy()),
        "per_class": dict(zip(outcomes.labels, scores, strict=True)),
    }


def class_f1(tp: int, fp: int, fn: int) -> float | None:
    """Returns F1 of one class; None where it is 0/0: the class is neither there nor predicted."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def macro_f1(f1: Sequence[float | None]) -> float:
    """Returns the plain mean of the classes' F1, each of which counts as 0 if it is None."""
    return math.fsum(one or 0.0 for one in f1) / len(f1)


def weighted_f1(f1: Sequence[float | None], rows: Sequence[int]) -> float:
    """Returns the mean of the classes' F1 by their rows; 0 if no class has rows."""
    return math.fsum((one or 0.0) * count for one, count in zip(f1, rows, strict=True)) / max(sum(rows), 1)


def confidence(outcomes: Outcomes) -> tuple[Floats, Bools]:
    """Returns the model's confidence and whether it is right: float32 [M], bool [M].

    With a single label these are the probability of the most probable class and whether the row has it, M = N. In a
    multi-label task they are all probabilities, row by row, and whether the row has the class, M = N K.
    """
    if outcomes.multi_label:
        return _clipped(outcomes).ravel(), outcomes.true.ravel()
    return _clipped(outcomes).max(axis=1, initial=0.0), outcomes.predicted == outcomes.targets


def average_precision(probabilities: Floats, true: Bools) -> float | None:
    """Returns the average precision of one class, from [N] rows; None if no row or every row has it."""
    return float(binary_average_precision(*_tensors(probabilities, true))) if _has_both(true) else None


def calibration_error(probabilities: Floats, true: Bools) -> float | None:
    """Returns the expected calibration error of [N] probabilities in BINS bins; None if N is 0."""
    if not len(true):
        return None
    tensors = _tensors(np.minimum(probabilities, np.float32(BELOW_ONE)), true)
    return float(binary_calibration_error(*tensors, n_bins=BINS, norm="l1"))


def expected_error(outcomes: Outcomes) -> float | None:
    """Returns `ece` of `metrics`."""
    if not outcomes.multi_label:
        return calibration_error(*confidence(outcomes))
    return _mean(map(calibration_error, _clipped(outcomes).T, outcomes.true.T))


def _one_class(probabilities: Floats, decisions: Bools, true: Bools) -> dict[str, Any]:
    counts = binary_stat_scores(*_tensors(decisions, true)) if len(true) else torch.zeros(5)
    tp, fp, _, fn, _ = map(int, counts)
    auroc = float(binary_auroc(*_tensors(probabilities, true))) if _has_both(true) else None
    return {
        "rows": tp + fn,
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": class_f1(tp, fp, fn),
        "auroc": auroc,
        "auprc": average_precision(probabilities, true),
        "brier": _mean((probabilities.astype(np.float64) - true) ** 2),
    }


def _brier(outcomes: Outcomes, scores: Sequence[float | None]) -> float | None:
    total = sum(score for score in scores if score is not None)
    if not len(outcomes) or not scores:
        return None
    return total / 2 if len(scores) == 2 and not outcomes.multi_label else total


def _clipped(outcomes: Outcomes) -> Floats:
    """Returns the probabilities [N, K], none above 1. Otherwise torchmetrics would take all of them for logits."""
    clipped: Floats = outcomes.probabilities.clip(0, 1)
    return clipped


def _tensors(values: npt.NDArray[Any], true: Bools) -> tuple[torch.Tensor, torch.Tensor]:
    values = values.astype(np.int64) if values.dtype == np.bool_ else values
    return torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(true.astype(np.int64))


def _has_both(true: Bools) -> bool:
    return bool(true.any() and not true.all())


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[Any] | npt.NDArray[Any]) -> float | None:
    """Returns the mean of the values that are not None; None if there are none."""
    if isinstance(values, np.ndarray):
        return float(values.mean(dtype=np.float64)) if values.size else None
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
