"""Rows, rows/s and time left, where somebody is looking."""

from typing import Any, Self

import pytorch_lightning as pl
from tqdm import tqdm

from stonkgs.batch import Batch
from stonkgs.writer.base import PredictionWriter


class RowProgress(pl.Callback):
    """A progress bar in rows; silent where the output is no terminal.

    It counts this process: `splits` is its fair share of what is left, `rows` their rows. A format that is planned
    without reading it does not know its rows: then they are estimated from the splits that are through.
    """

    @classmethod
    def over(cls, writer: PredictionWriter, processes: int, *, hidden: bool) -> Self:
        """A bar over this process' fair share of what is left of a run that the writer has started."""
        plan = writer.job.plan
        share = -(-int((~writer.parts.listed(len(plan))).sum()) // processes)
        rows = None if plan.rows is None else round(plan.rows * share / len(plan))
        return cls(splits=share, rows=rows, hidden=hidden)

    def __init__(self, *, splits: int, rows: int | None, hidden: bool = False) -> None:
        self.share = splits
        self.rows = rows
        self.splits = 0
        #: of several processes on a machine one shows a bar
        self.hidden = hidden

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        hidden = self.hidden or None  # None: where the output is no terminal
        self.bar = tqdm(total=self.rows, unit=" rows", disable=hidden, smoothing=0.05, leave=False)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.bar.update(len(batch))
        if batch.end is not None:
            self.splits += 1
            self.bar.update(len(batch.end.rejected))
            if self.rows is None:
                self.bar.total = round(self.bar.n * max(1, self.share / self.splits))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
