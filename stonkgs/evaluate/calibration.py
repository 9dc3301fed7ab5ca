"""Probabilities that mean what they say: temperature scaling."""

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stonkgs.evaluate.extras import require
from stonkgs.evaluate.outcomes import Outcomes

#: The temperatures among which the best is searched.
LOWEST, HIGHEST = 0.1, 20.0


def temperature(outcomes: Outcomes) -> float:
    """The T of [LOWEST, HIGHEST] whose `Outcomes.calibrated(T)` has the least negative log-likelihood, to 4 digits.

    Above 1 the model was too sure of itself, below 1 not sure enough (Guo et al. 2017, ICML, section 4.2). To be found
    on rows that the model was not trained on. 1.0 where there is no best one within: of rows that are all told right,
    sharper is better without an end, and a test part would pay for it; or where there are no rows. Raises UserError
    without SciPy.
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
    return float(f"{best:.4g}") if LOWEST * 1.01 < best < HIGHEST / 1.01 and not _all_right(outcomes) else 1.0


def _all_right(outcomes: Outcomes) -> bool:
    return bool((outcomes.said == outcomes.true).all())
