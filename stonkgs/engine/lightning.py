"""Lightning around the Predictor: which process reads what, and which batch runs where."""

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
from stonkgs.model.rater import Rater
from stonkgs.source.base import Reader, World
from stonkgs.source.split import Committed

T = TypeVar("T")


class StatementModule(pl.LightningModule):
    """A thin module: a batch in, probabilities [B, classes] out."""

    def __init__(self, rater: Rater, *, threads: int | None = None) -> None:
        super().__init__()
        self.rater = rater
        # Registered, so that Lightning moves it to the device; the rater calls this very object.
        self.network = rater.module
        self.threads = threads

    def on_predict_start(self) -> None:
        """Lightning and torchrun set threads by the number of processes, which moves the last bits: set ours last."""
        if self.threads:
            torch.set_num_threads(self.threads)
        interrupt.wait_for_batches()

    def on_predict_batch_end(self, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """The batch's rows are held or written by now."""
        interrupt.check()

    def on_predict_end(self) -> None:
        interrupt.wait_no_more()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.rater(batch)


class OwnBatches(pl.LightningDataModule):
    """What every source of our batches does for Lightning."""

    def teardown(self, stage: str) -> None:
        """Let the garbage collector see everything again: see `loader`."""
        gc.unfreeze()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The Predictor moves what the network needs, when it has gathered the vectors."""
        return batch


class StatementData(OwnBatches):
    """The DataLoader over a planned source's batches.

    Lightning does not shard an IterableDataset: each process reads its own splits. `index` and `of` number this process
    among several that share a folder and nothing else. A part that is rated within a training on several devices is
    shared by the training's processes: they are asked of the trainer when Lightning has made the process group.
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
    """A DataLoader over what makes its own batches."""
    options: dict[str, Any] = {}
    if workers:
        # Forked workers share this process's memory until somebody writes to it, and the garbage collector writes to
        # every object that it looks at: what exists by now is kept out of its sight.
        if not gc.get_freeze_count():  # once is enough: what is frozen is never freed
            gc.freeze()
        options = {"multiprocessing_context": start_method, "worker_init_fn": _leave_signals_to_main}
    return DataLoader(dataset, batch_size=None, num_workers=workers, **options)


def _leave_signals_to_main(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal: the main one ends the workers, and says so once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
