"""Calibrates probabilities by temperature scaling."""

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stonkgs.evaluate.extras import require
from stonkgs.evaluate.outcomes import Outcomes

#: The range in which the best temperature is searched.
LOWEST, HIGHEST = 0.1, 20.0


def temperature(outcomes: Outcomes) -> float:
    """Return the temperature T whose `Outcomes.calibrated(T)` has the least negative log-likelihood, to 4 digits.

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
