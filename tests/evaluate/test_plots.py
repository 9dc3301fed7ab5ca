"""Figures are written whole, the same each time, and of anything."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from stonkgs.errors import UserError
from stonkgs.evaluate.figure import LABEL, line_style, short
from stonkgs.evaluate.outcomes import Bools, Ints, Outcomes
from stonkgs.evaluate.plots import HistoryRow, confusion, draw_all, learning_curves, precision_recall, reliability

pytestmark = pytest.mark.renders

NAMES = ("_hidden", r"$\nonsense$", "日本", "a\x1b[31m", "x" * 80)
PROTOCOL = "seed 0, 80/10/10, 50 % $ \\frac of <all> rows & " + "no end of words " * 8
HISTORY: list[HistoryRow] = [
    {"step": 10, "epoch": 0.5, "train_loss": 0.7, "learning_rate": 1e-5},
    {"step": 20, "epoch": 1.0, "train_loss": float("nan"), "loss": 0.6, "macro_f1": 0.5, "accuracy": None},
]
KINDS = ("confusion", "precision_recall", "reliability", "learning_curves")


def some(rows: int, classes: int, multi_label: bool) -> Outcomes:
    """Random predictions; the second class is absent from a multi-label truth, and the last from any."""
    random = np.random.default_rng(rows)
    probabilities = random.dirichlet(np.ones(classes), rows).astype(np.float32)
    targets: Ints | Bools = random.integers(0, max(classes - 1, 1), rows)
    if multi_label:
        targets = random.random((rows, classes)) < 0.5
        targets[:, 1:2] = False
    return Outcomes(tuple((NAMES * 3)[:classes]), probabilities, targets)


@pytest.mark.parametrize(
    ("rows", "classes", "multi_label"),
    [(40, 5, False), (0, 2, False), (1, 2, False), (40, 6, True), (0, 1, True)],
)
def test_draws_anything_without_a_word(tmp_path: Path, rows: int, classes: int, multi_label: bool) -> None:
    outcomes = some(rows, classes, multi_label)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = draw_all(outcomes, PROTOCOL, tmp_path, before=outcomes.calibrated(2), history=HISTORY)
    assert files == [f"{kind}.{form}" for kind in KINDS for form in ("png", "svg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    for name in files:
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for folder in (first, second):
        draw_all(some(40, 3, False), PROTOCOL, folder, history=HISTORY)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert b"<dc:date>" not in (first / "confusion.svg").read_bytes()


def texts(path: Path) -> list[str]:
    """What an SVG says: above each text that it draws as outlines stands a comment with it."""
    found = re.findall(r"<!-- (.*?) -->", path.read_text(), re.DOTALL)
    return [part for comment in found for part in comment.split("\n")]


def test_every_figure_names_its_protocol(tmp_path: Path) -> None:
    outcomes = some(40, 3, False)
    confusion(outcomes, "by pair, seed 7", tmp_path)
    precision_recall(outcomes, "by pair, seed 7", tmp_path)
    reliability(outcomes, "by pair, seed 7", tmp_path)
    learning_curves(HISTORY, "by pair, seed 7", tmp_path)
    for kind in KINDS:
        said = texts(tmp_path / f"{kind}.svg")
        assert said[said.index("by pair, seed 7") - 1].startswith(kind.capitalize()[:7]), kind


def test_the_figures_show_the_numbers(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1]] * 7 + [[0.2, 0.8]] * 3, np.float32)
    outcomes = Outcomes(("no", "yes"), probabilities, np.array([0] * 6 + [1] * 4))
    confusion(outcomes, "all", tmp_path)
    assert {"6", "100%", "0", "0%", "1", "25%", "3", "75%"} <= set(texts(tmp_path / "confusion.svg"))
    precision_recall(outcomes, "all", tmp_path)
    said = texts(tmp_path / "precision_recall.svg")
    assert {"0.850  yes", "0.400  share of rows"} <= set(said)  # 3/4 * 1 + 1/4 * 0.4
    assert not any(text.endswith("  no") for text in said)
    reliability(outcomes, "all", tmp_path)  # 0.7 |6/7 - 0.9| + 0.3 |1 - 0.8|
    assert "model, ECE 0.090" in texts(tmp_path / "reliability.svg")


def test_an_absent_class_is_named(tmp_path: Path) -> None:
    probabilities = np.full((2, 3), 1 / 3, np.float32)
    precision_recall(Outcomes(("a", "b", "none"), probabilities, np.array([0, 1])), "all", tmp_path)
    assert "–  none" in texts(tmp_path / "precision_recall.svg")


def test_no_history_no_curves(tmp_path: Path) -> None:
    assert not any("curves" in name for name in draw_all(some(5, 2, False), "all", tmp_path))
    learning_curves([], "all", tmp_path)
    assert texts(tmp_path / "learning_curves.svg").count("nothing was measured") == 2


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="taken"):
        confusion(some(5, 2, False), "all", tmp_path / "taken")


def test_names_and_lines_of_many_classes() -> None:
    assert len({tuple(line_style(number).values()) for number in range(24)}) == 24
    assert short("x" * LABEL) == "x" * LABEL
    cut = short("first " + "x" * 80 + " last")
    assert len(cut) <= LABEL
    assert cut.startswith("first x")
    assert cut.endswith("x last")
