"""Pre-training as a LightningModule: the loss over masked words, nodes and pairs, and the scores of a validation."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import GOALS, Logits, Places, PretrainingHeads, loss_sums
from stonkgs.train.pairs import Guesses, PairShare
from stonkgs.train.schedule import Schedule
from stonkgs.train.stepwise import Stepwise


class PretrainingScores(Metric):
    """Sums losses and counts right guesses, of words, nodes and pairs."""

    full_state_update = False
    losses: Tensor
    right: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("losses", torch.zeros(len(GOALS)), dist_reduce_fx="sum")
        for name in ("right", "count"):
            self.add_state(name, torch.zeros(len(GOALS), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, losses: Tensor, right: Tensor, count: Tensor) -> None:
        """Add a batch's sums of losses, float32 [3], right guesses and guesses, int64 [3]."""
        self.losses += losses
        self.right += right
        self.count += count

    def compute(self) -> dict[str, float | None]:
        """Returns the loss, and the mean losses and accuracies that it is made of; None where nothing was masked."""
        losses, right, count = (values.tolist() for values in (self.losses, self.right, self.count))
        means = [loss / number if number else None for loss, number in zip(losses, count, strict=True)]
        shares = [hits / number if number else None for hits, number in zip(right, count, strict=True)]
        return {
            "loss": sum(filter(None, means)),
            **{f"{goal}_loss": mean for goal, mean in zip(GOALS, means, strict=True)},
            **{f"{goal}_accuracy": share for goal, share in zip(GOALS, shares, strict=True)},
        }


class PreTraining(Stepwise):
    """A network that learns what was masked, and which text belongs to which graph. No vector of the store changes."""

    def __init__(self, predictor: Predictor, schedule: Schedule, *, heads: PretrainingHeads, **settings: Any) -> None:
        super().__init__(predictor, schedule, **settings)
        self.heads = heads
        self.scores = PretrainingScores()

    def step_loss(self, step: PairShare) -> Tensor:
        """Returns the sum of three mean cross-entropies, each over what is masked in all processes' rows."""
        sums, counts = self._sums(step)[:2]
        total = self.trainer.strategy.reduce(counts.clone(), reduce_op="sum")
        assert isinstance(total, Tensor)
        return (sums / total.clamp(min=1)).sum() * self.schedule.world

    def _sums(self, step: PairShare) -> tuple[Tensor, Tensor, Logits]:
        """Returns the sums of losses, float32 [3], the numbers of guesses, int64 [3], and the logits."""
        network = self.network
        assert isinstance(network, STonKGs)
        inputs = self.predictor.inputs(step.batch)
        hidden = network.states(inputs)
        text, nodes = (_places(guesses, hidden.device) for guesses in (step.text, step.nodes))
        pairs = torch.from_numpy(step.pairs).to(hidden.device)
        width = inputs["text"]["tokens"].shape[1]
        logits = self.heads(hidden, network.bert.pooler(hidden[:, :1]), text, nodes, width)
        counts = torch.tensor([len(text.labels), len(nodes.labels), len(pairs)], device=hidden.device)
        return loss_sums(logits, text, nodes, pairs), counts, logits

    def validation_step(self, step: PairShare, number: int) -> None:
        if not len(step.batch):
            return
        sums, counts, logits = self._sums(step)
        if not torch.isfinite(sums).all():
            raise self.not_finite()
        labels = (step.text.labels, step.nodes.labels, step.pairs)
        right = [
            int((values.argmax(dim=1).cpu() == torch.from_numpy(wanted)).sum())
            for values, wanted in zip(logits, labels, strict=True)
        ]
        self.scores.update(sums, torch.tensor(right, device=sums.device), counts)


def _places(guesses: Guesses, device: torch.device) -> Places:
    return Places(*(torch.from_numpy(array).to(device) for array in guesses))
