"""What is not installed is named, with the remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.evaluate.extras import require


def test_says_how_to_install_it() -> None:
    require("numpy")
    with pytest.raises(UserError, match=r"needs no_such_package, .*pip install 'stonkgs\[train\]'"):
        require("no_such_package")


#: torchmetrics comes first: it looks for these itself, and does without.
WITHOUT = """
import sys
import torchmetrics
sys.modules.update(sklearn=None, scipy=None, matplotlib=None)
from pathlib import Path
import numpy as np
from stonkgs.errors import UserError
from stonkgs.evaluate import calibration, figure, metrics, outcomes, plots
from stonkgs.train import card
rows = outcomes.Outcomes(("a", "b"), np.full((2, 2), 0.5, np.float32), np.array([0, 1]))
assert metrics.metrics(rows)["rows"] == 2
drawn = Path("never")
for call in (
    lambda: calibration.temperature(rows),
    lambda: plots.confusion(rows, "", drawn),
    lambda: plots.precision_recall(rows, "", drawn),
    lambda: plots.reliability(rows, "", drawn),
    lambda: plots.learning_curves([], "", drawn),
):
    try:
        call()
    except UserError as error:
        print(str(error).split(",")[0])
"""


def test_only_what_needs_it_asks_for_it(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, cwd=tmp_path)
    needed = ["scipy", "sklearn", "sklearn", "sklearn", "matplotlib"]
    assert result.stdout.splitlines() == [f"fine-tuning needs {name}" for name in needed]
    assert not list(tmp_path.iterdir())
