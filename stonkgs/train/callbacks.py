"""Callbacks of a training: one saves what it continues from after a kill, one shows how far it is."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from tqdm import tqdm

from stonkgs.engine import interrupt
from stonkgs.train.checkpoints import LAST
from stonkgs.train.folder import TrainFolder
from stonkgs.train.stepwise import Stepwise
from stonkgs.train.stream import Share


class KeepLast(Checkpoint):
    """Writes `last.ckpt` about every `every` steps, after every validation, and after Ctrl-C; history.csv beside it.

    It saves only where the optimizer has just taken a step, because a checkpoint does not hold accumulated gradients.
    After Ctrl-C a single process trains on to such a step. One of several processes stops at once and saves nothing,
    because a checkpoint needs all of them: the training then continues from the last one.
    """

    def __init__(self, folder: TrainFolder, *, every: int) -> None:
        self.folder = folder
        self.every = every

    def on_train_batch_end(  # Lightning's hook
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Share, batch_idx: int
    ) -> None:
        """Save between two steps. At the end of a lap a validation comes first: see `on_train_epoch_end`."""
        assert isinstance(pl_module, Stepwise)
        done, schedule = pl_module.done, pl_module.schedule
        alone = trainer.world_size == 1
        if not schedule.is_lap_end(done) and schedule.is_boundary(done):
            if schedule.is_due(done, self.every) or (interrupt.signal_pending() and alone):
                self._save(trainer, pl_module)
            interrupt.raise_pending()
        elif not alone:
            interrupt.raise_pending()

    def on_validation_batch_end(self, *_: Any) -> None:
        """Stop in the middle of a validation, which may take long. The next start repeats steps since the last save."""
        interrupt.raise_pending()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save at the end of a lap, after its validation."""
        assert isinstance(pl_module, Stepwise)
        self._save(trainer, pl_module)
        interrupt.raise_pending()

    def _save(self, trainer: pl.Trainer, module: Stepwise) -> None:
        trainer.save_checkpoint(self.folder.checkpoints / LAST)
        if trainer.is_global_zero:
            self.folder.write_history(module.history)


class TrainProgress(pl.Callback):
    """Shows a progress bar in rows, with the scores of the last validation, if the output is a terminal."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Stepwise)
        schedule, hidden = pl_module.schedule, trainer.global_rank != 0 or None
        self.bar = tqdm(total=schedule.epochs * schedule.rows, unit=" rows", disable=hidden, leave=False)
        self.bar.update(schedule.rows * pl_module.done // schedule.steps)

    def on_train_batch_end(  # Lightning's hook
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Share, batch_idx: int
    ) -> None:
        self.bar.update(len(batch.batch) * trainer.world_size)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Stepwise)
        latest = pl_module.history[-1]
        self.bar.set_postfix({name: f"{latest[name]:.3f}" for name in ("loss", "macro_f1") if name in latest})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
