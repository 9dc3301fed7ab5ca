"""What all trainings in steps share, as a LightningModule: the optimizer, and the state that a checkpoint keeps."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from transformers import get_linear_schedule_with_warmup

from stonkgs.engine import interrupt
from stonkgs.errors import UserError
from stonkgs.model.predictor import Predictor
from stonkgs.protocol import scramble
from stonkgs.train.schedule import Schedule
from stonkgs.train.stream import Share

#: A function that makes an optimizer of `params`.
MakeOptimizer = Callable[..., torch.optim.Optimizer]

#: How the names of the text backbone's weights begin, the part that may be frozen.
BACKBONE = "network.lm_backbone."


class Stepwise(pl.LightningModule, ABC):
    """A network in training. Its state after `done` steps determines all later steps.

    With `freeze_backbone` the text backbone is not trained, as in the first implementation, and stays in eval mode, so
    that a text gives the same vectors in training as in prediction. In the first implementation its dropout stayed on:
    `backbone_dropout` does so. Dropout is seeded by (seed, step, process), so that a continued training repeats it.
    """

    #: what a validation measures, over all processes
    scores: Metric

    def __init__(
        self,
        predictor: Predictor,
        schedule: Schedule,
        *,
        optimizer: MakeOptimizer,
        warmup: float,
        freeze_backbone: bool,
        backbone_dropout: bool = False,
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
        self.backbone_dropout = backbone_dropout
        if self.frozen:
            self._backbone().requires_grad_(False)
            self.strict_loading = False  # a checkpoint does not hold the frozen weights
        self.threads = threads
        self.log_every = log_every
        #: finished steps
        self.done = 0
        #: measurements: a row every `log_every` steps, and a row for each validation
        self.history: list[dict[str, float]] = []
        #: the sum and the number of this process' losses since the last row of training losses
        self.loss_sum, self.loss_count = torch.zeros(()), 0

    @abstractmethod
    def step_loss(self, step: Any) -> Tensor:
        """Returns the loss of a share, a scalar. Its mean over all processes is the mean loss of all their rows."""

    def train(self, mode: bool = True) -> "Stepwise":
        super().train(mode)
        if self.frozen and not self.backbone_dropout:
            self._backbone().eval()
        return self

    def _backbone(self) -> nn.Module:
        return self.network.get_submodule("lm_backbone")

    def on_fit_start(self) -> None:
        """Set threads, signal handlers and training mode, which Lightning or a loaded model has set differently."""
        if self.threads:
            torch.set_num_threads(self.threads)
        interrupt.defer_signals()
        self.train()

    def on_fit_end(self) -> None:
        interrupt.stop_deferring()

    def training_step(self, step: Share, number: int) -> Tensor:
        torch.manual_seed(scramble(self.schedule.seed, step.number * self.schedule.world + self.global_rank) >> 1)
        if not self.frozen:
            self.network.refresh()
        loss = self.step_loss(step)
        self.loss_sum, self.loss_count = self.loss_sum.to(loss.device) + loss.detach().float(), self.loss_count + 1
        self.done = step.number + 1
        if self.done % self.log_every == 0:
            self._log_training()
        elif self.schedule.is_lap_end(self.done):
            self._mean_loss()  # fails before a validation whose values would not be numbers either
        return loss

    def _mean_loss(self) -> float:
        """Returns the mean loss of all processes since the last row of losses. Raises UserError if it is not finite."""
        loss = self._loss_sum() / self.loss_count
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {self.done}: a smaller optimizer.lr= or a longer warmup= may help"
            )
        return loss

    def _loss_sum(self) -> float:
        """Returns the mean of all processes' sums. All have the same number of losses."""
        return float(self.trainer.strategy.reduce(self.loss_sum.clone(), reduce_op="mean"))

    def on_validation_epoch_start(self) -> None:
        if not self.frozen:
            self.network.refresh()

    def not_finite(self) -> UserError:
        """Returns the error for a validation that gives no numbers."""
        return UserError(
            f"the model gives values that are not numbers after step {self.done}: a smaller optimizer.lr= or a "
            "longer warmup= may help"
        )

    def on_validation_epoch_end(self) -> None:
        """Compute and log the scores over all processes, including those without rows."""
        found = self.scores.compute()
        self.scores.reset()
        measured = {f"validation/{name}": value for name, value in found.items() if value is not None}
        values = measured | {"step": float(self.done)}
        self.log_dict(values, rank_zero_only=False)
        self.history.append({**self._progress(), **found})

    def _log_training(self) -> None:
        """Log the mean loss and the learning rate."""
        loss, rate = self._mean_loss(), float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.loss_sum, self.loss_count = torch.zeros(()), 0
        self.history.append({**self._progress(), "train_loss": loss, "learning_rate": rate})
        # The step is given because Lightning's own count begins again when a training is continued.
        values = {"train/loss": loss, "learning_rate": rate, "step": float(self.done)}
        self.log_dict(values, rank_zero_only=True)

    def _progress(self) -> dict[str, float]:
        return {"step": self.done, "epoch": self.done / self.schedule.steps}

    def configure_optimizers(self) -> Any:
        """Make the optimizer. Its learning rate rises linearly in the warm-up and then falls linearly to 0."""
        groups = [group for group in decay_groups(self.parameters()) if group["params"]]
        optimizer = self.make_optimizer(params=groups)
        steps = self.schedule.optimizer_steps
        rate = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)  # type: ignore[no-untyped-call]
        return [optimizer], [{"scheduler": rate, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save our own count of steps instead of the state of Lightning's loops, and leave out frozen weights."""
        checkpoint.pop("loops", None)
        checkpoint["stonkgs"] = {
            "done": self.done,
            "history": self.history,
            "seen": [self._loss_sum(), self.loss_count],  # all processes continue from the mean of their sums
            "stopped": self.trainer.should_stop,
        }
        if self.frozen:
            for name in [name for name in checkpoint["state_dict"] if name.startswith(BACKBONE)]:
                del checkpoint["state_dict"][name]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.done = checkpoint["stonkgs"]["done"]
        self.history = checkpoint["stonkgs"]["history"]
        loss_sum, self.loss_count = checkpoint["stonkgs"]["seen"]
        self.loss_sum = torch.tensor(loss_sum)


def decay_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Group trainable parameters: matrices have the optimizer's weight decay; biases and norms, vectors, have none."""
    trainable = [weight for weight in parameters if weight.requires_grad]
    matrices = [weight for weight in trainable if weight.dim() > 1]
    vectors = [weight for weight in trainable if weight.dim() <= 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
