"""The training itself: Lightning around a FineTuning, from wherever an earlier attempt was."""

import csv
import errno
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from stonkgs.batch import Batch, Batches
from stonkgs.disk import publish
from stonkgs.engine.lightning import OwnBatches, loader
from stonkgs.errors import UserError
from stonkgs.source.base import World
from stonkgs.train.callbacks import KeepLast, TrainProgress
from stonkgs.train.census import Census
from stonkgs.train.checkpoints import BEST, ENDED, LAST, Published, read
from stonkgs.train.folder import TrainFolder
from stonkgs.train.module import BACKBONE, FineTuning
from stonkgs.train.protocol import VALIDATION
from stonkgs.train.selection import Part, Selection
from stonkgs.train.stream import Step, Stream


class TrainingData(OwnBatches):
    """The DataLoaders of a training: what is left of the current lap, and the validation part."""

    def __init__(
        self,
        module: FineTuning,
        selection: Selection,
        census: Census,
        *,
        buffer: int,
        window: int,
        num_workers: int,
        start_method: str | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.selection = selection
        self.census = census
        self.buffer = buffer
        self.window = window
        self.num_workers = num_workers
        self.start_method = start_method

    def train_dataloader(self) -> DataLoader[Step]:
        """Made anew for each lap, when Lightning has made the process group and a checkpoint was loaded."""
        assert self.trainer is not None
        schedule = self.module.schedule
        epoch, start, stop = schedule.lap(self.module.done)
        stream = Stream(
            selection=self.selection,
            encoder=self.module.predictor.encoder(),
            schedule=schedule,
            weights=self.module.class_weights,
            buffer=self.buffer,
            epoch=epoch,
            start=start,
            stop=stop,
            rank=self.trainer.global_rank,
        )
        return loader(stream, self.num_workers, self.start_method)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Each process its share of the part's splits, as in a prediction; they may be uneven."""
        assert self.trainer is not None
        if not self.census.rows.get(VALIDATION):
            return []
        part = Part.of(self.selection, VALIDATION, self.census.rows[VALIDATION])
        reader = part.at(World(self.trainer.global_rank, self.trainer.world_size))
        encoder, size = self.module.predictor.encoder(), self.module.schedule.size
        batches = Batches(source=reader, encoder=encoder, size=size, window=self.window)
        return loader(batches, self.num_workers, self.start_method)


@dataclass(frozen=True, slots=True)
class Fit:
    """A training as it is asked for."""

    folder: TrainFolder
    trainer: pl.Trainer
    #: the validation's score by which the best weights are kept
    monitor: str
    patience: int | None
    checkpoint_every: int

    def run(self, module: FineTuning, data: TrainingData) -> None:
        """Train, or go on; in the end the network has the best weights, or without a validation part the last ones."""
        checkpoints = self.folder.checkpoints
        last, stopped = checkpoints / LAST, False
        if last.exists():
            kept = read(last)
            module.on_load_checkpoint(kept)
            stopped = bool(kept["stonkgs"]["stopped"])  # early; it would train on, since nobody else remembers
        laps = module.schedule.laps_left(module.done)
        if not (checkpoints / ENDED).exists() and laps and not stopped:
            self.trainer.fit_loop.max_epochs = laps
            self.trainer.strategy.checkpoint_io = Published()
            with self._room(), self._watched(module, data):
                path = str(last) if last.exists() else None
                self.trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
            self.trainer.strategy.barrier()
            if self.trainer.is_global_zero:
                (checkpoints / ENDED).touch()
        best = checkpoints / BEST
        missing = module.load_state_dict(read(best if best.exists() else last)["state_dict"], strict=False)
        if missing.unexpected_keys or not all(name.startswith(BACKBONE) for name in missing.missing_keys):
            raise UserError(f"{checkpoints}: of another model; start the training anew: overwrite=true")
        module.network.refresh()
        module.network.eval()

    @contextmanager
    def _room(self) -> Iterator[None]:
        """UserError where checkpoints or a logger's files do not fit onto the disk; what they replace stands."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise UserError(
                f"{self.folder.checkpoints}: cannot be written: {error.strerror}; make room, then the same "
                "command goes on"
            ) from error

    @contextmanager
    def _watched(self, module: FineTuning, data: TrainingData) -> Iterator[None]:
        """With our callbacks behind the user's own."""
        own: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        self.trainer.callbacks = [*own, *self._callbacks(module, data)]  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.trainer.callbacks = own  # type: ignore[attr-defined]

    def _callbacks(self, module: FineTuning, data: TrainingData) -> Sequence[pl.Callback]:
        """In the order in which they are called: what is saved last knows what the others have noted."""
        watched: dict[str, Any] = {
            "monitor": f"validation/{self.monitor}",
            "mode": "min" if self.monitor == "loss" else "max",
        }
        validated = bool(data.census.rows.get(VALIDATION))
        callbacks: list[pl.Callback] = [TrainProgress()]
        if validated and self.patience is not None:
            callbacks.append(EarlyStopping(patience=self.patience, **watched))
        if validated:
            name = BEST.removesuffix(".ckpt")
            kept: dict[str, Any] = {
                "save_weights_only": True,
                "enable_version_counter": False,
                "auto_insert_metric_name": False,
            }
            callbacks.append(ModelCheckpoint(dirpath=self.folder.checkpoints, filename=name, **kept, **watched))

        def tell() -> None:
            write_history(self.folder.history, module.history)

        return [*callbacks, KeepLast(self.folder.checkpoints, every=self.checkpoint_every, tell=tell)]


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """history.csv: what was measured, a row a point of the learning curves."""
    names = list(dict.fromkeys(name for row in history for name in row)) or ["step"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    with publish(path) as file:
        file.write(text.getvalue().encode())
