"""The scores of a validation, by the definitions of metrics.json, over all processes of a training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torchmetrics import Metric

from stonkgs.evaluate.metrics import class_f1, macro_f1, weighted_f1
from stonkgs.model.decision import predicted_classes, probabilities


class Scores(Metric):
    """Counts right and wrong decisions and sums losses, batch by batch."""

    full_state_update = False
    tp: Tensor
    fp: Tensor
    fn: Tensor
    right: Tensor
    decided: Tensor
    loss_sum: Tensor

    def __init__(self, classes: int, *, multi_label: bool) -> None:
        super().__init__()
        self.multi_label = multi_label
        for name in ("tp", "fp", "fn"):
            self.add_state(name, torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("right", "decided"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch: logits float32 [B, K]; true classes int64 [B], or with `multi_label` 0 and 1 [B, K]."""
        logits, targets = logits.cpu(), targets.cpu()  # small, and not every device has float64
        said, true = self._decisions(logits), targets.bool()
        if not self.multi_label:
            true = one_hot(targets, logits.shape[1]).bool()
        right = said == true if self.multi_label else (said & true).any(dim=1)
        device = self.tp.device
        self.tp += (said & true).sum(dim=0).to(device)
        self.fp += (said & ~true).sum(dim=0).to(device)
        self.fn += (~said & true).sum(dim=0).to(device)
        self.right += int(right.sum())
        self.decided += right.numel()
        self.loss_sum += float(losses(logits, targets).sum())

    def _decisions(self, logits: Tensor) -> Tensor:
        rated = probabilities(logits, multi_label=self.multi_label)
        return torch.from_numpy(predicted_classes(rated.numpy(), multi_label=self.multi_label))

    def compute(self) -> dict[str, float]:
        """Returns the mean loss, and the F1 scores and accuracy as `stonkgs.evaluate.metrics` defines them."""
        tp, fp, fn = (counts.tolist() for counts in (self.tp, self.fp, self.fn))
        f1 = [class_f1(*counts) for counts in zip(tp, fp, fn, strict=True)]
        rows, decided = [hit + missed for hit, missed in zip(tp, fn, strict=True)], int(self.decided)
        if not decided:
            return dict.fromkeys(("loss", "weighted_f1", "macro_f1", "accuracy"), float("nan"))
        return {
            "loss": float(self.loss_sum) / decided,
            "weighted_f1": weighted_f1(f1, rows),
            "macro_f1": macro_f1(f1),
            "accuracy": int(self.right) / decided,
        }


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the negative log-likelihood of each row [B], or of each row and class [B, K], in nats, float64.

    They come from the logits, because a float32 probability of 1 - 1e-9 is 1.
    """
    exact: Any = logits.double()
    if targets.dim() == 1:
        return cross_entropy(exact, targets, reduction="none")
    return binary_cross_entropy_with_logits(exact, targets.double(), reduction="none")
