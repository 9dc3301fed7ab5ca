"""A part rated by the very flow that predicts, and what is made of it: figures, plots, a temperature, a model card."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl

from stonkgs.batch import Batches
from stonkgs.disk import publish
from stonkgs.encode.encoder import Example
from stonkgs.engine.lightning import StatementData, StatementModule
from stonkgs.engine.progress import RowProgress
from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes, majority
from stonkgs.model.predictor import Predictor
from stonkgs.runs.folder import Begun
from stonkgs.runs.job import Job
from stonkgs.runs.record import Record
from stonkgs.statement import Statement
from stonkgs.train.census import Census
from stonkgs.train.folder import TrainFolder
from stonkgs.train.protocol import TRAIN
from stonkgs.train.selection import TRUTH, Part, Selection
from stonkgs.train.tfidf import TfIdf
from stonkgs.writer.base import FLAGS, PREDICTION
from stonkgs.writer.parquet import ParquetWriter

#: Before the class names in test_predictions.parquet where the input has columns of these names, as often as it takes.
PREFIX = "predicted_"
#: What the identity of a rating calls the weights that it rates with.
RATER: Final = "the digest of what rates"


@dataclass(frozen=True, eq=False)
class Rating:
    """How parts are rated: all that `rate` needs beside the part and the model."""

    #: of the training that rates
    record: Record
    selection: Selection
    census: Census
    trainer: pl.Trainer
    folder: TrainFolder
    size: int
    window: int
    workers: int
    start_method: str | None
    threads: int | None

    def rate(self, part: str, rater: Predictor | TfIdf, digest: str) -> tuple[Path, str]:
        """Predict a part: its Parquet file, and the prefix of its columns. All processes take their share.

        A rating that was interrupted goes on, if it is of the same weights: `digest` tells.
        """
        source = Part(self.selection, part, self.census.rows[part])
        prefix = self._prefix(source)
        writer = ParquetWriter(prefix=prefix)
        assert source.planned is not None
        classes = self.census.classes
        job = Job(
            output_dir=self.folder.path / f"rated-{part}-{digest[:16]}",
            plan=source.planned,
            labels=classes.labels,
            first_line=source.first_line,
            record=self._record(part, digest),
            multi_label=classes.multi_label,
        )
        if isinstance(writer.start(job), Begun):
            self._predict(source, rater, writer)
            writer.finish()
        return writer.folder.predictions, prefix

    def _record(self, part: str, digest: str) -> Record:
        """Of the training, and beside it which rows are rated, and with which weights."""
        identity = self.record.identity
        return replace(
            self.record,
            identity=replace(identity, values={**identity.values, "part": part, RATER: digest}),
            labels=self.census.classes.labels,
            multi_label=self.census.classes.multi_label,
        )

    def _predict(self, source: Part, rater: Predictor | TfIdf, writer: ParquetWriter) -> None:
        encoder = rater.encoder() if isinstance(rater, Predictor) else blank
        batches: Callable[..., Batches] = partial(Batches, encoder=encoder, size=self.size, window=self.window)
        if isinstance(rater, TfIdf):
            for batch in batches(source=source.shard(rank=0, world=1, committed=writer.parts)):
                writer.add(batch, rater(batch))
            return
        options: dict[str, Any] = {"num_workers": self.workers, "start_method": self.start_method}
        data = StatementData(source, batches, committed=writer.parts, **options)
        progress = RowProgress.over(writer, self.trainer.world_size)
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        self.trainer.callbacks = [*callbacks, writer, progress]  # type: ignore[attr-defined]
        try:
            module = StatementModule(rater, threads=self.threads, together=True)
            self.trainer.predict(module, datamodule=data, return_predictions=False)
        finally:
            self.trainer.callbacks = callbacks  # type: ignore[attr-defined]

    def _prefix(self, source: Part) -> str:
        assert source.planned is not None
        taken, prefix = set(source.planned.schema.names), ""
        while taken & {f"{prefix}{name}" for name in (*self.census.classes.labels, PREDICTION, *FLAGS)}:
            prefix += PREFIX
        return prefix

    def outcomes(self, part: str, rater: Predictor | TfIdf, digest: str) -> Outcomes:
        """What the model says of a part, and what is true."""
        return self.read(*self.rate(part, rater, digest))

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


def uncalibrated(rater: Predictor | TfIdf) -> float:
    """The model's temperature, which it has no more: parts are rated without, and then calibrated."""
    if isinstance(rater, TfIdf):
        return 1.0
    before = rater.model.config.temperature
    rater.model.config = replace(rater.model.config, temperature=1.0)
    return before


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


def blank(statements: Sequence[Statement]) -> list[Example]:
    """Encodes nothing, for who reads the columns."""
    tokens: npt.NDArray[np.int32] = np.zeros(0, np.int32)
    return [Example(statement, tokens, tokens, (0, 0), False, None) for statement in statements]  # type: ignore[arg-type]
