"""Connects the Predictor to Lightning: a module that answers batches, and the data that a process reads."""

import gc
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from stonkgs.batch import Batch, Batches
from stonkgs.engine import interrupt
from stonkgs.model.answer import Responder
from stonkgs.source.base import Reader, World
from stonkgs.source.split import Committed

T = TypeVar("T")


class StatementModule(pl.LightningModule):
    """Takes a batch, returns what a responder gives for it: probabilities, or embeddings."""

    def __init__(self, responder: Responder, *, threads: int | None = None) -> None:
        super().__init__()
        self.responder = responder
        # As an attribute it is moved to the device by Lightning; the responder calls the same object.
        self.network = responder.module
        self.threads = threads

    def on_predict_start(self) -> None:
        """Sets the threads last: Lightning and torchrun set them, too, and another number changes the last bits."""
        if self.threads:
            torch.set_num_threads(self.threads)
        interrupt.defer_signals()

    def on_predict_batch_end(self, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Raises a signal that waits; the writer has the batch's rows by now."""
        interrupt.raise_pending()

    def on_predict_end(self) -> None:
        interrupt.stop_deferring()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.responder(batch)


class OwnBatches(pl.LightningDataModule):
    """The base of our data modules, whose batches are made by the data set."""

    def teardown(self, stage: str) -> None:
        """Undoes the freeze of the garbage collector in `loader`."""
        gc.unfreeze()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leaves the batch as it is: the Predictor gathers the vectors and then moves what the network needs."""
        return batch


class StatementData(OwnBatches):
    """Loads the batches of a planned source.

    Each process reads its own splits, because Lightning does not shard an IterableDataset. This process is number
    `index` of `of` that share a folder. Within a training on several devices, the training's processes divide the
    splits further; the trainer knows their number only once Lightning has started them.
    """

    def __init__(
        self,
        reader: Reader,
        batches: Callable[..., Batches],
        *,
        num_workers: int,
        start_method: str | None,
        index: int = 0,
        of: int = 1,
        committed: Committed | None = None,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.batches = batches
        self.num_workers = num_workers
        self.start_method = start_method
        self.index = index
        self.of = of
        self.committed = committed

    def predict_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        processes = self.trainer.world_size
        rank, world = self.index * processes + self.trainer.global_rank, self.of * processes
        reader = self.reader.at(World(rank, world, self.committed))
        return loader(self.batches(source=reader), self.num_workers, self.start_method)


def loader(dataset: IterableDataset[T], workers: int, start_method: str | None) -> DataLoader[T]:
    """Returns a DataLoader over a data set that makes its own batches."""
    options: dict[str, Any] = {}
    if workers:
        # Forked workers share this process's memory until one side writes to it. The garbage collector writes to every
        # object that it visits, so the objects that exist now are hidden from it.
        if not gc.get_freeze_count():  # only once: what is frozen is never freed
            gc.freeze()
        options = {"multiprocessing_context": start_method, "worker_init_fn": _leave_signals_to_main}
    return DataLoader(dataset, batch_size=None, num_workers=workers, **options)


def _leave_signals_to_main(worker: int) -> None:
    """Ignores Ctrl-C, which the terminal sends to every process: the main process ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
