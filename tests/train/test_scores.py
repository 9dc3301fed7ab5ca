"""The scores of a validation are those of metrics.json: one definition each."""

import pytest
import torch

from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes
from stonkgs.train.scores import Scores

LABELS = ("a", "b", "c", "d")


def outcomes(logits: torch.Tensor, targets: torch.Tensor) -> Outcomes:
    several = targets.dim() == 2
    probabilities = logits.sigmoid() if several else logits.softmax(dim=1)
    true = targets.numpy().astype(bool) if several else targets.numpy()
    return Outcomes(LABELS, probabilities.numpy(), true, exact_logits=logits.numpy())


def made(multi_label: bool, classes: int, rows: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the first classes only: the others are neither there nor, mostly, predicted."""
    random = torch.Generator().manual_seed(classes)
    logits = torch.randn(rows, 4, generator=random) * 30 - torch.tensor([0.0, 0, 0, 500])
    if multi_label:
        logits[:5] = 0.0  # a probability of exactly 0.5 says that the class is there
        return logits, (torch.rand(rows, 4, generator=random) < 0.4) & (torch.arange(4) < classes)
    return logits, torch.randint(classes, (rows,), generator=random)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_they_are_those_of_metrics_json(multi_label: bool, classes: int) -> None:
    logits, targets = made(multi_label, classes)
    scores = Scores(4, multi_label=multi_label)
    for first in range(0, len(logits), 7):
        scores.update(logits[first : first + 7], targets[first : first + 7].long())
    found, wanted = scores.compute(), metrics(outcomes(logits, targets))
    assert set(found) == {"loss", "weighted_f1", "macro_f1", "accuracy"}
    for name in ("weighted_f1", "macro_f1", "accuracy"):
        assert found[name] == wanted[name], name
    assert found["loss"] == pytest.approx(wanted["nll"], rel=1e-6)


def test_a_class_that_is_not_there_counts_as_0() -> None:
    scores = Scores(4, multi_label=False)
    scores.update(torch.eye(4)[[0, 1, 0]] * 5, torch.tensor([0, 1, 0]))
    found = scores.compute()
    assert found["macro_f1"] == 0.5
    assert found["weighted_f1"] == found["accuracy"] == 1.0


def test_a_sure_mistake_has_its_loss() -> None:
    """A probability of 1 in float32 may be of a logit of 17 or of 90."""
    scores = Scores(1, multi_label=True)
    scores.update(torch.tensor([[60.0], [40.0]]), torch.tensor([[0], [0]]))
    assert scores.compute()["loss"] == pytest.approx(50)
