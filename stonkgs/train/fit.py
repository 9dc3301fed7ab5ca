"""Runs Lightning's training loop over a `Stepwise` module, from the last checkpoint if there is one."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from stonkgs.errors import UserError, reason
from stonkgs.train.callbacks import KeepLast, TrainProgress
from stonkgs.train.checkpoints import BEST, ENDED, LAST, WholeCheckpoints, read_weights
from stonkgs.train.data import TrainingData
from stonkgs.train.folder import TrainFolder
from stonkgs.train.stepwise import BACKBONE, Stepwise


@dataclass(frozen=True, slots=True)
class Fit:
    """The training loop and its settings."""

    folder: TrainFolder
    trainer: pl.Trainer
    #: the validation score that chooses the best weights
    monitor: str
    #: validations without a better score after which training stops; None: it never stops early
    patience: int | None
    #: steps between two checkpoints
    checkpoint_every: int

    def run(self, module: Stepwise, data: TrainingData) -> None:
        """Train, or continue. The network then has the best weights, or without a validation part the last ones."""
        checkpoints = self.folder.checkpoints
        last, stopped = checkpoints / LAST, False
        if last.exists():
            kept = read_weights(last, module, frozen=BACKBONE)
            try:
                module.on_load_checkpoint(kept)
                stopped = bool(kept["stonkgs"]["stopped"])  # early stopping; Lightning itself would train on
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise UserError(f"{last}: of another version; start the training anew: overwrite=true") from error
        laps = module.schedule.laps_left(module.done)
        if not (checkpoints / ENDED).exists() and laps and not stopped:
            self.trainer.fit_loop.max_epochs = laps
            self.trainer.strategy.checkpoint_io = WholeCheckpoints()
            with self._disk_errors(), self._own_callbacks(data):
                path = str(last) if last.exists() else None
                self.trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
            self.trainer.strategy.barrier()
            if self.trainer.is_global_zero:
                (checkpoints / ENDED).touch()
        best = checkpoints / BEST
        chosen = read_weights(best if best.exists() else last, module, frozen=BACKBONE)
        module.load_state_dict(chosen["state_dict"], strict=False)
        module.network.refresh()
        module.network.eval()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Raises UserError if the disk refuses a checkpoint or a logger's file. The earlier ones stay."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
                raise
            path = self.folder.checkpoints
            raise UserError(f"{path}: cannot be written: {reason(error, path)}") from error

    @contextmanager
    def _own_callbacks(self, data: TrainingData) -> Iterator[None]:
        """Add our callbacks behind the user's for the time of the block."""
        users: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        self.trainer.callbacks = [*users, *self._callbacks(data)]  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.trainer.callbacks = users  # type: ignore[attr-defined]

    def _callbacks(self, data: TrainingData) -> Sequence[pl.Callback]:
        """Returns them in the order of their calls. `KeepLast` is last because it saves the state of the others."""
        monitor: dict[str, Any] = {
            "monitor": f"validation/{self.monitor}",
            "mode": "min" if self.monitor == "loss" else "max",
        }
        callbacks: list[pl.Callback] = [TrainProgress()]
        if data.validated and self.patience is not None:
            callbacks.append(EarlyStopping(patience=self.patience, **monitor))
        if data.validated:
            best = ModelCheckpoint(
                dirpath=self.folder.checkpoints,
                filename=BEST.removesuffix(".ckpt"),
                save_weights_only=True,
                enable_version_counter=False,
                auto_insert_metric_name=False,
                **monitor,
            )
            callbacks.append(best)
        return [*callbacks, KeepLast(self.folder, every=self.checkpoint_every)]
