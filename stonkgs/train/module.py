"""Fine-tuning as a LightningModule: the loss over classes, and the scores of a validation."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from stonkgs.batch import Batch
from stonkgs.errors import UserError
from stonkgs.model.decision import CLASS_SEPARATOR
from stonkgs.model.predictor import Predictor
from stonkgs.train.schedule import Schedule
from stonkgs.train.scores import Scores
from stonkgs.train.selection import TRUTH
from stonkgs.train.stepwise import Stepwise
from stonkgs.train.stream import Step


class FineTuning(Stepwise):
    """A network that learns classes. `weights` are those of the classes, float64 [K]; None: all are 1."""

    def __init__(
        self, predictor: Predictor, schedule: Schedule, *, weights: npt.NDArray[np.float64] | None, **settings: Any
    ) -> None:
        super().__init__(predictor, schedule, **settings)
        self.class_weights = weights
        #: the same for the loss, float32 [K]
        self.weights: Tensor | None
        self.register_buffer("weights", None if weights is None else torch.tensor(weights, dtype=torch.float32), False)
        self.scores = Scores(len(predictor.labels), multi_label=predictor.model.config.multi_label)
        self._numbers = {label: number for number, label in enumerate(predictor.labels)}

    def step_loss(self, step: Step) -> Tensor:
        """Returns cross-entropy, weighted by the rows' classes as torch does it, or binary in a multi-label task."""
        logits = self.network(self.predictor.inputs(step.batch)).float()
        targets = torch.from_numpy(step.targets).to(logits.device)
        if self.predictor.model.config.multi_label:
            loss = functional.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=self.weights, reduction="sum"
            )
        else:
            loss = functional.cross_entropy(logits, targets, weight=self.weights, reduction="sum")
        return loss * (self.schedule.world / step.weight)

    def validation_step(self, batch: Batch, number: int) -> None:
        if not len(batch):
            return
        try:
            logits = self.predictor.logits(batch)
        except UserError as error:  # its advice is for prediction
            raise self.not_finite() from error
        self.scores.update(logits, self.targets(batch))

    def targets(self, batch: Batch) -> Tensor:
        """Returns the true classes of a batch: int64 [B], or in a multi-label task 0 and 1 as int64 [B, K]."""
        names = batch.columns[TRUTH].to_pylist()
        if not self.predictor.model.config.multi_label:
            return torch.tensor([self._numbers[name] for name in names])
        hot = torch.zeros(len(names), len(self._numbers), dtype=torch.int64)
        for row, name in zip(hot, names, strict=True):
            row[[self._numbers[one] for one in name.split(CLASS_SEPARATOR)]] = 1
        return hot
