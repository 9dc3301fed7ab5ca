"""Beside the training: what it can go on from after a kill, and how far it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from tqdm import tqdm

from stonkgs.engine import interrupt
from stonkgs.train.checkpoints import LAST
from stonkgs.train.module import FineTuning
from stonkgs.train.stream import Step


class KeepLast(Checkpoint):
    """Writes `last.ckpt` every so many steps, after every validation, and when somebody interrupts.

    Only where the optimizer has just taken a step: gradients that are being accumulated are in no checkpoint, and one
    process waits for that with an interruption. Where one of several is interrupted, there is none to be had that all
    have part in: the last one stands.
    """

    def __init__(self, folder: Path, *, every: int, tell: Callable[[], None]) -> None:
        self.path = folder / LAST
        self.every = every
        #: called beside each checkpoint, in the first process
        self.tell = tell

    def on_train_batch_end(  # Lightning's hook
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Between two steps. At a lap's end there is a validation first: see on_train_epoch_end."""
        assert isinstance(pl_module, FineTuning)
        done, schedule = pl_module.done, pl_module.schedule
        alone = trainer.world_size == 1
        if not schedule.is_lap_end(done) and schedule.is_boundary(done):
            if done % self.every == 0 or (interrupt.signal_pending() and alone):
                self._save(trainer)
            interrupt.raise_pending()
        elif not alone:
            interrupt.raise_pending()

    def on_validation_batch_end(self, *_: Any) -> None:
        """A validation may take long; the lap is then done again from the last checkpoint."""
        interrupt.raise_pending()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A lap is over, its validation too."""
        self._save(trainer)
        interrupt.raise_pending()

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            self.tell()


class TrainProgress(pl.Callback):
    """A bar in rows, with the last loss; silent where the output is no terminal."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuning)
        schedule, hidden = pl_module.schedule, trainer.global_rank != 0 or None
        self.bar = tqdm(total=schedule.epochs * schedule.rows, unit=" rows", disable=hidden, leave=False)
        self.bar.update(schedule.rows * pl_module.done // schedule.steps)

    def on_train_batch_end(  # Lightning's hook
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        self.bar.update(len(batch.batch) * trainer.world_size)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuning)
        latest = pl_module.history[-1]
        self.bar.set_postfix({name: f"{latest[name]:.3f}" for name in ("loss", "macro_f1") if name in latest})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
