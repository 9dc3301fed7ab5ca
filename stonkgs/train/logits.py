"""Carries logits through a rating, because a float32 probability near 1 no longer says what it was made of."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.engine.lightning import StatementModule
from stonkgs.evaluate.outcomes import BATCH_ROWS, Outcomes
from stonkgs.model.decision import probabilities
from stonkgs.model.rater import Rater
from stonkgs.source.parquet import open_parquet, parquet_errors
from stonkgs.writer.parquet import ParquetWriter


class LogitsModule(StatementModule):
    """Takes a batch, returns logits, float32 [B, classes]."""

    def __init__(self, rater: Rater, *, threads: int | None = None) -> None:
        super().__init__(rater, threads=threads)
        self.rater = rater

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.rater.logits(batch)


class LogitsWriter(ParquetWriter):
    """Takes logits instead of probabilities. It writes the probabilities as any writer, and the logits beside them.

    The job's plan must have the field `logits_field` among its columns, under the name `column`.
    """

    def __init__(self, *, prefix: str, column: str) -> None:
        super().__init__(prefix=prefix)
        self.column = column

    def add(self, batch: Batch, outputs: npt.NDArray[np.float32]) -> None:
        """Take a batch with its logits, float32 [B, classes], in place of its probabilities."""
        logits = np.ascontiguousarray(outputs)
        held = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel(), pa.float32()), logits.shape[1])
        schema = batch.columns.schema.append(self.schema.field(self.column))
        columns = pa.RecordBatch.from_arrays([*batch.columns.columns, held], schema=schema)
        rated = probabilities(torch.from_numpy(logits), multi_label=bool(self.job.answer.multi_label))
        super().add(replace(batch, columns=columns), rated.numpy())


def logits_field(classes: int, taken: Collection[str]) -> pa.Field:
    """Returns the column of each row's logits: a list of K. Underscores follow its name while that is taken."""
    name = "logits"
    while name in taken:
        name += "_"
    return pa.field(name, pa.list_(pa.float32(), classes))


def with_logits(outcomes: Outcomes, path: Path, column: str) -> Outcomes:
    """Returns outcomes that were read from a LogitsWriter's file, with their logits."""
    logits, first = np.empty(outcomes.probabilities.shape, np.float32), 0
    with open_parquet(str(path)) as parquet, parquet_errors(str(path)):
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[column], use_threads=False):
            stop = first + batch.num_rows
            logits[first:stop] = batch.column(0).flatten().to_numpy().reshape(batch.num_rows, -1)
            first = stop
    return replace(outcomes, exact_logits=logits)
