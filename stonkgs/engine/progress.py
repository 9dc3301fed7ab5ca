"""Shows a progress bar on a terminal: rows, rows/s and the time left."""

from typing import Any, Self

import pytorch_lightning as pl
from tqdm import tqdm

from stonkgs.batch import Batch
from stonkgs.writer.base import PredictionWriter


class RowProgress(pl.Callback):
    """A progress bar of this process, in rows; silent where the output is no terminal.

    `splits` is this process's fair share of the splits that are left, and `rows` their rows. Where the plan does not
    know its rows, they are estimated from the splits that are done.
    """

    @classmethod
    def for_writer(cls, writer: PredictionWriter, processes: int, *, hidden: bool) -> Self:
        """Returns a bar for one of so many `processes` over what is left of a run that the writer has started."""
        plan = writer.job.plan
        share = -(-int((~writer.parts.listed(len(plan))).sum()) // processes)
        rows = None if plan.rows is None else round(plan.rows * share / len(plan))
        return cls(splits=share, rows=rows, hidden=hidden)

    def __init__(self, *, splits: int, rows: int | None, hidden: bool = False) -> None:
        self.share = splits
        self.rows = rows
        self.splits = 0
        #: True in all but one of the processes on a machine
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
        self.bar.update(len(batch) + len(batch.rejected))
        if batch.end is not None:
            self.splits += 1
            if self.rows is None:
                self.bar.total = round(self.bar.n * max(1, self.share / self.splits))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
