"""Fine-tuning as a LightningModule: the loss, the optimizer, and what an interrupted training needs to go on."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelAccuracy,
    MultilabelF1Score,
)
from transformers import get_linear_schedule_with_warmup

from stonkgs.batch import Batch
from stonkgs.engine import interrupt
from stonkgs.errors import UserError
from stonkgs.model.decision import CLASS_SEPARATOR, THRESHOLD
from stonkgs.model.predictor import Predictor
from stonkgs.train.protocol import scramble
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import TRUTH
from stonkgs.train.stream import Step

#: An optimizer that only lacks its parameters.
MakeOptimizer = Callable[..., torch.optim.Optimizer]

#: The frozen part of a network.
BACKBONE = "network.lm_backbone."


class FineTuning(pl.LightningModule):
    """A network that learns a task, as it goes; after `done` steps everything to come follows from its state.

    With `freeze_backbone` the text backbone stays as it is and in eval mode, as in the first implementation. Dropout
    follows from (seed, step, process), so that nothing depends on what was drawn before.
    """

    def __init__(
        self,
        predictor: Predictor,
        schedule: Schedule,
        *,
        optimizer: MakeOptimizer,
        warmup: float,
        freeze_backbone: bool,
        weights: npt.NDArray[np.float64] | None,
        threads: int | None,
        log_every: int,
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.network = predictor.model
        self.schedule = schedule
        self.make_optimizer = optimizer
        self.warmup = warmup
        self.frozen = freeze_backbone and hasattr(self.network, "lm_backbone")
        if self.frozen:
            self._backbone().requires_grad_(False)
            self.strict_loading = False  # what is frozen is not in a checkpoint
        #: of the classes: float64 [K], and as the loss takes them, float32 [K]
        self.class_weights = weights
        self.weights: Tensor | None
        self.register_buffer("weights", None if weights is None else torch.tensor(weights, dtype=torch.float32), False)
        self.threads = threads
        self.log_every = log_every
        #: steps that are done
        self.done = 0
        #: what was measured: a row a `log_every` steps, and a row a validation
        self.history: list[dict[str, float]] = []
        #: the sum of this process' losses since the last note, and how many they are
        self.seen, self.count = torch.zeros(()), 0
        self.scores = scores(len(predictor.labels), multi_label=predictor.model.config.multi_label)
        # Not looked at row by row, which would make a GPU wait: a NaN shows in the mean.
        self.loss = MeanMetric(nan_strategy="disable")
        self._numbers = {label: number for number, label in enumerate(predictor.labels)}

    def train(self, mode: bool = True) -> "FineTuning":
        super().train(mode)
        if self.frozen:
            self._backbone().eval()
        return self

    def _backbone(self) -> nn.Module:
        return self.network.get_submodule("lm_backbone")

    def on_fit_start(self) -> None:
        """Set what Lightning sets otherwise: threads, signal handlers, and the mode, which a loaded model brings."""
        if self.threads:
            torch.set_num_threads(self.threads)
        interrupt.wait_for_batches()
        self.train()

    def on_fit_end(self) -> None:
        interrupt.wait_no_more()

    def training_step(self, step: Step, number: int) -> Tensor:
        torch.manual_seed(scramble(self.schedule.seed, step.number * self.schedule.world + self.global_rank) >> 1)
        loss = self.step_loss(step)
        self.seen, self.count = self.seen.to(loss.device) + loss.detach().float(), self.count + 1
        self.done = step.number + 1
        # At the end of a lap, too: before a validation of what is no number any more.
        if self.done % self.log_every == 0:
            self._note_training()
        elif self.schedule.is_lap_end(self.done):
            self._mean_loss()
        return loss

    def step_loss(self, step: Step) -> Tensor:
        """The mean loss of a step, such that the mean over all processes is that of all their rows.

        Cross-entropy, weighted by the rows' classes as torch has it; of a multi-label task binary cross-entropy.
        """
        if not self.frozen:
            self.network.refresh()
        logits = self.network(self.predictor.inputs(step.batch)).float()
        targets = torch.from_numpy(step.targets).to(logits.device)
        if self.predictor.model.config.multi_label:
            loss = functional.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=self.weights, reduction="sum"
            )
        else:
            loss = functional.cross_entropy(logits, targets, weight=self.weights, reduction="sum")
        return loss * (self.schedule.world / step.weight)

    def _mean_loss(self) -> float:
        """The mean loss since the last note, over all processes; UserError where it is no number."""
        loss = self._seen() / self.count
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {self.done}: a smaller optimizer.lr= or a longer warmup= may help"
            )
        return loss

    def _seen(self) -> float:
        """The mean over all processes of what each has seen; all have made the same steps."""
        return float(self.trainer.strategy.reduce(self.seen.clone(), reduce_op="mean"))

    def on_validation_epoch_start(self) -> None:
        if not self.frozen:
            self.network.refresh()

    def validation_step(self, batch: Batch, number: int) -> None:
        if not len(batch):
            return
        try:
            probabilities = self.predictor(batch)
        except UserError as error:  # its words are for who predicts
            raise UserError(
                f"the model gives values that are not numbers after step {self.done}: a smaller optimizer.lr= or a "
                "longer warmup= may help"
            ) from error
        targets = self.targets(batch).to(probabilities.device)
        self.scores.update(probabilities, targets)
        self.loss.update(losses(probabilities, targets))

    def targets(self, batch: Batch) -> Tensor:
        """What is true of a batch: int64 [B], or of a multi-label task int64 [B, K]."""
        names = batch.columns[TRUTH].to_pylist()
        if not self.predictor.model.config.multi_label:
            return torch.tensor([self._numbers[name] for name in names])
        hot = torch.zeros(len(names), len(self._numbers), dtype=torch.int64)
        for row, name in zip(hot, names, strict=True):
            row[[self._numbers[one] for one in name.split(CLASS_SEPARATOR)]] = 1
        return hot

    def on_validation_epoch_end(self) -> None:
        """All processes together, also those that had no rows."""
        computed = {"loss": self.loss.compute(), **self.scores.compute()}
        self.loss.reset()
        self.scores.reset()
        found = {name: float(value) for name, value in computed.items()}
        values = {f"validation/{name}": value for name, value in found.items()} | {"step": float(self.done)}
        self.log_dict(values, rank_zero_only=False)
        self.history.append({**self._place(), **found})

    def _note_training(self) -> None:
        """The mean loss since the last note, over all processes."""
        loss, rate = self._mean_loss(), float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.seen, self.count = torch.zeros(()), 0
        self.history.append({**self._place(), "train_loss": loss, "learning_rate": rate})
        # The step of the whole training: Lightning's own count begins again when a training goes on.
        values = {"train/loss": loss, "learning_rate": rate, "step": float(self.done)}
        self.log_dict(values, rank_zero_only=True)

    def _place(self) -> dict[str, float]:
        return {"step": self.done, "epoch": self.done / self.schedule.steps}

    def configure_optimizers(self) -> Any:
        """Warm-up and linear decay to nothing, a step at a time; no decay of biases and of what normalises."""
        groups = [{"params": group, **rest} for group, rest in decayed(self.network.parameters()) if group]
        optimizer = self.make_optimizer(params=groups)
        steps = self.schedule.optimizer_steps
        rate = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)  # type: ignore[no-untyped-call]
        return [optimizer], [{"scheduler": rate, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Our own count of steps instead of the loops' state, and nothing that is frozen."""
        checkpoint.pop("loops", None)
        checkpoint["stonkgs"] = {
            "done": self.done,
            "history": self.history,
            "seen": [self._seen(), self.count],  # all processes come by here, and go on from the mean
            "stopped": self.trainer.should_stop,
        }
        if self.frozen:
            for name in [name for name in checkpoint["state_dict"] if name.startswith(BACKBONE)]:
                del checkpoint["state_dict"][name]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.done = checkpoint["stonkgs"]["done"]
        self.history = checkpoint["stonkgs"]["history"]
        total, self.count = checkpoint["stonkgs"]["seen"]
        self.seen = torch.tensor(total)


def decayed(parameters: Iterable[nn.Parameter]) -> list[tuple[list[nn.Parameter], Mapping[str, Any]]]:
    """Trainable parameters: matrices, whose decay is the optimizer's, and vectors, which have none."""
    trainable = [weight for weight in parameters if weight.requires_grad]
    matrices = [weight for weight in trainable if weight.dim() > 1]
    return [(matrices, {}), ([weight for weight in trainable if weight.dim() <= 1], {"weight_decay": 0.0})]


def losses(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The negative log-likelihood of each row [B], or of each row and class [B, K]."""
    tiny = torch.finfo(torch.float32).tiny
    if targets.dim() == 1:
        return -probabilities.gather(1, targets[:, None])[:, 0].clamp_min(tiny).log()
    right = torch.where(targets.bool(), probabilities, 1 - probabilities)
    return -right.clamp_min(tiny).log()


def scores(classes: int, *, multi_label: bool) -> MetricCollection:
    """The scores of a validation; see `stonkgs.evaluate.metrics` for all that is told of the test part."""
    metrics: dict[str, Metric]
    if multi_label:
        options: dict[str, Any] = {"num_labels": classes, "threshold": THRESHOLD}
        metrics = {kind: MultilabelF1Score(average=kind, **options) for kind in ("weighted", "macro")}
        accuracy: Metric = MultilabelAccuracy(average="micro", **options)
    else:
        options = {"num_classes": classes}
        metrics = {kind: MulticlassF1Score(average=kind, **options) for kind in ("weighted", "macro")}
        accuracy = MulticlassAccuracy(average="micro", **options)
    return MetricCollection({**{f"{kind}_f1": metric for kind, metric in metrics.items()}, "accuracy": accuracy})
