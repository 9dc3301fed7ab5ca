"""Calibrates probabilities by temperature scaling, where that helps."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stonkgs.evaluate.extras import require
from stonkgs.evaluate.outcomes import Bools, Outcomes

#: The range in which the best temperature is searched.
LOWEST, HIGHEST = 0.1, 20.0
#: The stretches of the validation part that take turns in belonging to one half or the other. Rows of one paper often
#: stand together, and a single cut in the middle of a sorted file would make halves of different classes.
_STRETCHES: Final = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature, what it was fitted on, and whether it helped."""

    #: the temperature to use: `fitted`, or 1 where that does not help
    temperature: float
    #: the best one for all rows
    fitted: float
    #: the rows that it was fitted on
    rows: int
    #: the mean negative log-likelihood of these rows as they are,
    before: float | None
    #: and with the temperature that the other half gives
    after: float | None


def calibration(outcomes: Outcomes) -> Calibration:
    """Fit a temperature, and keep it only if it helps rows that it was not fitted on.

    The rows are cut into two halves, and each is scaled with the temperature that is best for the other half. That has
    to lower the negative log-likelihood of both halves, and the mean over all rows by more than its standard error.
    Otherwise the temperature is 1: of few rows, most of the fit is chance.
    """
    fitted = temperature(outcomes)
    if len(outcomes) < 2:
        return Calibration(1.0, fitted, len(outcomes), None, None)
    first = np.arange(len(outcomes)) * min(_STRETCHES, len(outcomes)) // len(outcomes) % 2 == 0
    gains = np.concatenate([_gains(outcomes, first), _gains(outcomes, ~first)])
    cut = int((~first).sum())
    helps = gains[:cut].mean() > 0 and gains[cut:].mean() > 0
    certain = gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains))
    before = float(outcomes.losses.mean())
    kept = fitted if helps and certain else 1.0
    return Calibration(kept, fitted, len(outcomes), before, before - float(gains.mean()))


def _gains(outcomes: Outcomes, fitted_on: Bools) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns how much the temperature of the chosen rows lowers the losses of each other row: float64 [M]."""
    scale, others = temperature(outcomes.rows(fitted_on)), outcomes.rows(~fitted_on)
    lowered = others.losses - others.calibrated(scale).losses
    gains: np.ndarray[tuple[int], np.dtype[np.float64]] = lowered.view(len(others), -1).mean(dim=1).numpy()
    return gains


def temperature(outcomes: Outcomes) -> float:
    """Returns the temperature T whose `Outcomes.calibrated(T)` has the least negative log-likelihood, to 4 digits.

    Above 1 the model was too confident, below 1 not confident enough (Guo et al. 2017, ICML, section 4.2). The rows
    must not be training rows. Returns 1.0 if no T between LOWEST and HIGHEST is best, or there are no rows. If all
    predictions are right, for example, the likelihood grows without bound as T falls, but on other rows it would not.
    Raises UserError without SciPy.
    """
    require("scipy")
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped, unused-ignore]

    if not outcomes.probabilities.size:
        return 1.0
    logits, targets = outcomes.logits, torch.from_numpy(outcomes.targets)
    if outcomes.multi_label:
        targets = targets.double()
    loss = binary_cross_entropy_with_logits if outcomes.multi_label else cross_entropy

    def likelihood(log_temperature: float) -> float:
        return float(loss(logits / math.exp(log_temperature), targets))

    found = minimize_scalar(
        likelihood, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    best = math.exp(found.x)
    all_right = bool((outcomes.decisions == outcomes.true).all())
    return float(f"{best:.4g}") if LOWEST * 1.01 < best < HIGHEST / 1.01 and not all_right else 1.0
