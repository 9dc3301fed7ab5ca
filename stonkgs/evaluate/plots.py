"""Plots of how good predictions are. Each is written as PNG and SVG, and shows its protocol."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stonkgs.evaluate.extras import require
from stonkgs.evaluate.figure import COLOURS, GREY, explain_empty, line_style, new_figure, rounded, short
from stonkgs.evaluate.metrics import BINS, average_precision, confidence, expected_error
from stonkgs.evaluate.outcomes import Bools, Floats, Ints, Outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Doubles = npt.NDArray[np.float64]
#: A row of history.csv: `step`, `epoch`, and the measurements.
HistoryRow = Mapping[str, float | None]

#: The curves of the two panels of the learning curves: keys of a row, and their names.
LOSSES = {"train_loss": "training", "loss": "validation"}
SCORES = {"macro_f1": "macro F1", "weighted_f1": "weighted F1", "accuracy": "accuracy"}
#: The most points of a curve that are drawn. More cannot be seen, but would all be in the SVG file.
POINTS = 1000


def draw_all(
    outcomes: Outcomes,
    protocol: str,
    folder: Path,
    *,
    before: Outcomes | None = None,
    history: Sequence[HistoryRow] = (),
) -> list[str]:
    """Draw all plots into `folder`, the learning curves only if there is a history. Returns the names of the files.

    Raises UserError without matplotlib or scikit-learn, or if the folder cannot be written. So do the functions below.
    """
    files = confusion(outcomes, protocol, folder)
    files += precision_recall(outcomes, protocol, folder)
    files += reliability(outcomes, protocol, folder, before=before)
    return files + (learning_curves(history, protocol, folder) if history else [])


def confusion(outcomes: Outcomes, protocol: str, folder: Path) -> list[str]:
    """Draw the confusion matrix: counts, and as colours the shares of the true class.

    In a multi-label task each class has a matrix of its own.
    """
    require("sklearn")
    return (_confusions if outcomes.multi_label else _confusion)(outcomes, protocol, folder)


def _confusion(outcomes: Outcomes, protocol: str, folder: Path) -> list[str]:
    from sklearn.metrics import confusion_matrix  # type: ignore[import-untyped, unused-ignore]

    classes = len(outcomes.labels)
    counts = np.zeros((classes, classes), np.int64)
    if len(outcomes):  # scikit-learn refuses empty input
        counts = confusion_matrix(outcomes.targets, outcomes.predicted, labels=range(classes))
    size = max(5.0, 3.2 + 0.55 * classes)
    title = f"Confusion matrix of {len(outcomes):,} rows, in colour the share of the true class"
    with new_figure(folder, "confusion", title, protocol, (size, size)) as (figure, files):
        axes = figure.subplots()
        _matrix(axes, counts, [short(label) for label in outcomes.labels])
        axes.set(xlabel="predicted", ylabel="true")
    return files


def _confusions(outcomes: Outcomes, protocol: str, folder: Path) -> list[str]:
    from sklearn.metrics import multilabel_confusion_matrix

    counts = np.zeros((len(outcomes.labels), 2, 2), np.int64)
    if len(outcomes):
        # A further column, because scikit-learn takes a single one for a task of two classes.
        true, decisions = (np.pad(given, ((0, 0), (0, 1))) for given in (outcomes.true, outcomes.decisions))
        counts = multilabel_confusion_matrix(true, decisions)[:-1]
    columns = min(math.ceil(math.sqrt(len(counts))), 4)
    rows = math.ceil(len(counts) / columns)
    title = f"Confusion matrix of each class, {len(outcomes):,} rows, in colour the share of what is true"
    size = (max(5.0, 1 + 2.2 * columns), 1 + 2.5 * rows)
    with new_figure(folder, "confusion", title, protocol, size) as (figure, files):
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, label, matrix in zip(grid, outcomes.labels, counts, strict=False):
            _matrix(axes, matrix, ["no", "yes"])
            axes.set_title(short(label))
        for axes in grid[len(counts) :]:
            axes.set_axis_off()
        figure.supxlabel("predicted", fontsize=9)
        figure.supylabel("true", fontsize=9)
    return files


def _matrix(axes: "Axes", counts: Ints, names: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(names) > 2 else {}
    axes.set_xticks(ticks, names, **slanted)
    axes.set_yticks(ticks, names)
    axes.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]:,}" + (f"\n{share:.0%}" if len(names) <= 8 else "")
        small = 8 if len(text) <= 6 or len(names) <= 8 else 6
        axes.text(column, row, text, ha="center", va="center", size=small, color="white" if share > 0.5 else "black")


def precision_recall(outcomes: Outcomes, protocol: str, folder: Path) -> list[str]:
    """Draw precision over recall of each class against the rest; of two classes only the second one."""
    require("sklearn")
    labels, probabilities, true = outcomes.labels, outcomes.probabilities, outcomes.true
    numbers = [1] if len(labels) == 2 and not outcomes.multi_label else range(len(labels))
    title = f"Precision and recall, {len(outcomes):,} rows"
    with new_figure(folder, "precision_recall", title, protocol, (8, 5)) as (figure, files):
        axes = figure.subplots()
        for place, number in enumerate(numbers):
            area = average_precision(probabilities[:, number], true[:, number])
            # The number is first because matplotlib hides a name that starts with an underscore from the legend.
            name = f"{rounded(area)}  {short(labels[number])}"
            recall, precision = _curve(true[:, number], probabilities[:, number])
            axes.plot(recall, precision, drawstyle="steps-post", label=name, linewidth=1.5, **line_style(place))
        if len(numbers) == 1 and len(outcomes):
            share = float(true[:, numbers[0]].mean())
            axes.axhline(share, color=GREY, linewidth=0.8, label=f"{rounded(share)}  share of rows")
        if not len(outcomes):
            explain_empty(axes, "no rows")
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
        # A legend of the axes, because the title would run into one of the figure.
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), title="average precision", alignment="left")
    return files


def _curve(true: Bools, probabilities: Floats) -> tuple[Doubles, Doubles]:
    """Returns recall and precision, at most POINTS of each; none if no row or every row has the class."""
    from sklearn.metrics import precision_recall_curve

    if true.all() or not true.any():
        return np.empty(0), np.empty(0)
    precision, recall, _ = precision_recall_curve(true, probabilities, drop_intermediate=True)
    kept = np.unique(np.linspace(0, len(recall) - 1, POINTS).round().astype(int))
    return recall[kept], precision[kept]


def reliability(outcomes: Outcomes, protocol: str, folder: Path, *, before: Outcomes | None = None) -> list[str]:
    """Draw the reliability diagram: how often the model is right, by its confidence in BINS bins (Guo et al. 2017).

    `metrics.confidence` defines both. `before` are the same rows before calibration, for comparison.
    """
    require("sklearn")
    title = f"Reliability, {len(outcomes):,} rows, {BINS} bins"
    with new_figure(folder, "reliability", title, protocol, (6, 6.5)) as (figure, files):
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="as sure as right")
        if before is not None:
            _reliable(upper, before, "before", color=COLOURS[1], linewidth=0.9, marker=".", markersize=4)
        _reliable(upper, outcomes, "calibrated" if before is not None else "model", color=COLOURS[0], marker="o")
        several = outcomes.multi_label
        share = "share where the class is there" if several else "share that is right"
        upper.set(ylabel=share, xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
        upper.legend(loc="upper left")
        lower.hist(confidence(outcomes)[0], bins=BINS, range=(0, 1), color=COLOURS[0], edgecolor="white")
        certainty = "probability of a class" if several else "probability of the predicted class"
        lower.set(xlabel=certainty, ylabel="decisions" if several else "rows")
        if not len(outcomes):
            explain_empty(lower, "no rows")
        figure.align_ylabels()
    return files


def _reliable(axes: "Axes", outcomes: Outcomes, name: str, **style: Any) -> None:
    from sklearn.calibration import calibration_curve  # type: ignore[import-untyped, unused-ignore]

    confidences, right = confidence(outcomes)
    empty: tuple[list[float], list[float]] = ([], [])
    shares, means = calibration_curve(right, confidences, n_bins=BINS, pos_label=True) if len(right) else empty
    label = f"{name}, ECE {rounded(expected_error(outcomes))}" + (" (mean of classes)" if outcomes.multi_label else "")
    axes.plot(means, shares, label=label, **style)


def learning_curves(
    history: Sequence[HistoryRow], protocol: str, folder: Path, *, scores: Mapping[str, str] = SCORES
) -> list[str]:
    """Draw losses and scores over the epochs of training, as far as `history` has them. `scores` names their keys."""
    with new_figure(folder, "learning_curves", "Learning curves", protocol, (9, 4)) as (figure, files):
        left, right = figure.subplots(1, 2)
        _curves(left, history, LOSSES)
        _curves(right, history, scores)
        left.set(xlabel="epoch", ylabel="loss (nats)")
        right.set(xlabel="epoch", ylabel="score on validation", ylim=(-0.02, 1.02))
    return files


def _curves(axes: "Axes", history: Sequence[HistoryRow], names: Mapping[str, str]) -> None:
    for number, (key, name) in enumerate(names.items()):
        if points := [(row["epoch"], row[key]) for row in history if _finite(row, key)]:
            often = key == "train_loss"
            style: dict[str, Any] = {"linewidth": 0.9} if often else {"marker": "o", "markersize": 4}
            axes.plot(*zip(*points, strict=True), label=name, **line_style(number), **style)
    if axes.lines:
        axes.legend(loc="best")
    else:
        explain_empty(axes, "nothing was measured")


def _finite(row: HistoryRow, key: str) -> bool:
    """Returns whether a row has a finite number of this. A diverged loss cannot be drawn."""
    return all(isinstance(value := row.get(name), float | int) and math.isfinite(value) for name in ("epoch", key))
