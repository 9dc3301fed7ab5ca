"""A part rated by the very flow that predicts, and what is made of it: figures, plots, a temperature, a model card."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl

from stonkgs.batch import Batches
from stonkgs.disk import publish
from stonkgs.engine.lightning import StatementData, StatementModule
from stonkgs.engine.progress import RowProgress
from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes, majority
from stonkgs.model.rater import Rater
from stonkgs.runs.folder import UnfinishedRun
from stonkgs.runs.job import Job
from stonkgs.runs.record import RunRecord
from stonkgs.train.census import Census
from stonkgs.train.folder import TrainFolder
from stonkgs.train.protocol import TRAIN
from stonkgs.train.selection import TRUTH, Part
from stonkgs.train.start import Training
from stonkgs.writer.base import FLAGS, PREDICTION
from stonkgs.writer.parquet import ParquetWriter

#: Before the class names in test_predictions.parquet where the input has columns of these names, as often as it takes.
PREFIX = "predicted_"
#: What the identity of a rating calls the weights that it rates with.
RATER: Final = "the digest of what rates"


@dataclass(frozen=True, eq=False)
class Rating:
    """How parts are rated: by the flow that predicts, with a training's settings."""

    #: of the training that rates
    record: RunRecord
    training: Training

    @property
    def census(self) -> Census:
        """What was counted."""
        return self.training.census

    @property
    def folder(self) -> TrainFolder:
        """The training's."""
        return self.training.folder

    def rate(self, part: str, rater: Rater) -> tuple[Path, str]:
        """Predict a part: its Parquet file, and the prefix of its columns. All processes take their share.

        A rating that was interrupted goes on if the weights are the same: the folder's name has their digest.
        """
        source = Part.of(self.training.selection, part, self.census.rows[part])
        prefix, digest = self._prefix(source), rater.digest
        writer = ParquetWriter(prefix=prefix)
        job = Job(
            output_dir=self.folder.path / f"rated-{part}-{digest[:16]}",
            plan=source.plan,
            labels=rater.labels,
            first_line=source.source.first_line,
            record=self._record(part, rater, digest),
            multi_label=rater.multi_label,
        )
        if isinstance(writer.start(job), UnfinishedRun):
            self._predict(source, rater, writer)
            writer.finish()
        return writer.folder.predictions, prefix

    def _record(self, part: str, rater: Rater, digest: str) -> RunRecord:
        """Of the training, and beside it which rows are rated, and with which weights."""
        identity = self.record.identity
        return replace(
            self.record,
            identity=replace(identity, values={**identity.values, "part": part, RATER: digest}),
            labels=rater.labels,
            multi_label=rater.multi_label,
        )

    def _predict(self, source: Part, rater: Rater, writer: ParquetWriter) -> None:
        cfg, placed = self.training.cfg, self.training.placed
        batches: Callable[..., Batches] = partial(
            Batches, encoder=rater.encoder(), size=cfg.batch.size, window=cfg.batch.window
        )
        options: dict[str, Any] = {"num_workers": placed.workers(cfg), "start_method": cfg.start_method}
        data = StatementData(source, batches, committed=writer.parts, **options)
        progress = RowProgress.for_writer(writer, placed.trainer.world_size, hidden=placed.trainer.local_rank != 0)
        callbacks: list[pl.Callback] = placed.trainer.callbacks  # type: ignore[attr-defined]
        placed.trainer.callbacks = [*callbacks, writer, progress]  # type: ignore[attr-defined]
        try:
            module = StatementModule(rater, threads=placed.threads(cfg))
            placed.trainer.predict(module, datamodule=data, return_predictions=False)
        finally:
            placed.trainer.callbacks = callbacks  # type: ignore[attr-defined]

    def _prefix(self, source: Part) -> str:
        taken, prefix = set(source.plan.schema.names), ""
        while taken & {f"{prefix}{name}" for name in (*self.census.classes.labels, PREDICTION, *FLAGS)}:
            prefix += PREFIX
        return prefix

    def outcomes(self, part: str, rater: Rater) -> Outcomes:
        """What the model says of a part, and what is true."""
        return self.read(*self.rate(part, rater))

    def read(self, path: Path, prefix: str) -> Outcomes:
        """What `rate` has written."""
        classes = self.census.classes
        return Outcomes.read(path, classes.labels, truth=TRUTH, multi_label=classes.multi_label, prefix=prefix)

    def keep(self, test: Path, prefix: str, temperature: float) -> None:
        """Give the test part's predictions their place, calibrated, and remove what the ratings have left."""
        if temperature == 1:
            test.replace(self.folder.predictions)
        else:
            names = [f"{prefix}{label}" for label in self.census.classes.labels]
            with (
                pq.ParquetFile(test) as file,
                publish(self.folder.predictions) as to,
                pq.ParquetWriter(to, file.schema_arrow) as written,
            ):
                for batch in file.iter_batches():
                    written.write_batch(self._calibrated(batch, names, temperature))
        for left in self.folder.path.glob("rated-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _calibrated(self, batch: pa.RecordBatch, names: Sequence[str], temperature: float) -> pa.RecordBatch:
        """The same rows with other probabilities; which class is the most probable, or over one half, stays."""
        probabilities = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in names], axis=1)
        targets = np.zeros(probabilities.shape if self.census.classes.multi_label else len(probabilities))
        kind = np.bool_ if self.census.classes.multi_label else np.int64
        scaled = Outcomes(self.census.classes.labels, probabilities, targets.astype(kind)).calibrated(temperature)
        for name, values in zip(names, scaled.probabilities.T, strict=True):
            batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(values, pa.float32()))
        return batch


def figures(
    raw: Outcomes, validation: Outcomes | None, census: Census, protocol: str, temperature_used: float
) -> dict[str, Any]:
    """The test part's figures, before calibration too, with those of who always says what is most frequent."""
    test = raw.calibrated(temperature_used)
    values: dict[str, Any] = {"protocol": protocol, "test": metrics(test)}
    if validation is not None:
        values["validation"] = metrics(validation)
    if temperature_used != 1:
        before = metrics(raw)
        values["test_uncalibrated"] = {name: before[name] for name in ("nll", "brier", "ece")}
    if TRAIN in census.rows:
        counts = [census.parts[TRAIN][label] for label in census.classes.labels]
        values["majority"] = metrics(majority(test, counts, census.rows[TRAIN]))
    return values
