"""Rates a part of the rows with the flow that predicts, and computes the figures of a training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from stonkgs.engine.lightning import StatementData, StatementModule
from stonkgs.engine.progress import RowProgress
from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes, majority
from stonkgs.model.answer import PREDICTION
from stonkgs.model.decision import class_names
from stonkgs.model.rater import Rater
from stonkgs.protocol import TRAIN
from stonkgs.runs.job import Job
from stonkgs.runs.plan_file import UnfinishedRun
from stonkgs.runs.record import RunRecord
from stonkgs.train.census import Census
from stonkgs.train.logits import LogitsModule, LogitsWriter, logits_field, with_logits
from stonkgs.train.selection import TRUTH, PartReader
from stonkgs.train.start import Training
from stonkgs.writer.base import FLAGS
from stonkgs.writer.parquet import ParquetWriter

#: Stands before the class names in test_predictions.parquet, repeated until no column of the input has such a name.
PREFIX = "predicted_"
#: The key of the weights' digest in the identity of a rating.
RATER: Final = "the digest of what rates"


@dataclass(frozen=True, slots=True)
class Rated:
    """A part that was rated."""

    #: the Parquet file of its predictions
    path: Path
    #: stands before the names of the output columns
    prefix: str
    #: the column of the logits, if they are known
    logits: str | None


@dataclass(frozen=True, eq=False)
class Rating:
    """Rates parts with the flow that predicts and a training's settings."""

    #: the training's
    record: RunRecord
    training: Training

    def rate(self, part: str, rater: Rater) -> Rated:
        """Predict a part; each process takes its share.

        An interrupted rating is continued if the weights are the same: the folder's name contains their digest.
        """
        source = PartReader.of(self.training.selection, part, self.training.census.rows[part])
        plan, prefix, digest, column = source.plan, self._prefix(source), rater.digest, None
        writer = ParquetWriter(prefix=prefix)
        if rater.has_logits:
            field = logits_field(len(rater.labels), [*plan.schema.names, *self._outputs(prefix)])
            plan, column = replace(plan, schema=plan.schema.append(field)), field.name
            writer = LogitsWriter(prefix=prefix, column=column)
        job = Job(
            output_dir=self.training.folder.path / f"rated-{part}-{digest[:16]}",
            plan=plan,
            answer=rater.answer,
            first_line=source.source.first_line,
            record=self._record(part, rater, digest),
            check_input=source.grown,
        )
        if isinstance(writer.start(job), UnfinishedRun):
            writer.run(lambda: self._predict(source, rater, writer))
        return Rated(writer.folder.results[0], prefix, column)

    def _record(self, part: str, rater: Rater, digest: str) -> RunRecord:
        """Returns the training's record with the part and the weights' digest added to its identity."""
        identity = self.record.identity
        return replace(
            self.record,
            identity=replace(identity, values={**identity.values, "part": part, RATER: digest}),
            labels=rater.labels,
            multi_label=rater.multi_label,
        )

    def _predict(self, source: PartReader, rater: Rater, writer: ParquetWriter) -> None:
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
            kind = LogitsModule if rater.has_logits else StatementModule
            placed.trainer.predict(kind(rater, threads=placed.threads(cfg)), datamodule=data, return_predictions=False)
        finally:
            placed.trainer.callbacks = callbacks  # type: ignore[attr-defined]

    def _prefix(self, source: PartReader) -> str:
        taken, prefix = set(source.plan.schema.names), ""
        while taken.intersection(self._outputs(prefix)):
            prefix += PREFIX
        return prefix

    def _outputs(self, prefix: str) -> list[str]:
        return [f"{prefix}{name}" for name in (*self.training.census.classes.labels, PREDICTION, *FLAGS)]

    def outcomes(self, part: str, rater: Rater) -> Outcomes:
        """Rate a part, and return its predictions beside the truth."""
        return self.read(self.rate(part, rater))

    def read(self, rated: Rated) -> Outcomes:
        """Read the predictions that `rate` has written."""
        classes = self.training.census.classes
        options: dict[str, Any] = {"multi_label": classes.multi_label, "prefix": rated.prefix}
        outcomes = Outcomes.read(rated.path, classes.labels, truth=TRUTH, **options)
        return with_logits(outcomes, rated.path, rated.logits) if rated.logits else outcomes

    def keep(self, test: Rated, outcomes: Outcomes) -> None:
        """Write the predictions of the test part to the training's folder, and remove all ratings.

        They get the probabilities of `outcomes`, the same rows after calibration. The predicted classes stay the same.
        """
        folder = self.training.folder
        names, first = [f"{test.prefix}{label}" for label in outcomes.labels], 0
        with pq.ParquetFile(test.path) as file, publish(folder.predictions) as to:
            kept = [name for name in file.schema_arrow.names if name != test.logits]
            schema = pa.schema([file.schema_arrow.field(name) for name in kept])
            with pq.ParquetWriter(to, schema) as written:
                for batch in file.iter_batches():
                    rows = outcomes.probabilities[first : first + len(batch)]
                    written.write_batch(_with_columns(batch.select(kept), names, rows))
                    first += len(batch)
        folder.remove_ratings()


def _with_columns(batch: pa.RecordBatch, names: Sequence[str], values: npt.NDArray[np.float32]) -> pa.RecordBatch:
    """Returns a batch of B rows with float32 [B, K] in its columns `names`."""
    for name, column in zip(names, values.T, strict=True):
        batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(column, pa.float32()))
    return batch


def figures(
    test: Outcomes, validation: Outcomes | None, census: Census, protocol: str, before: Outcomes | None = None
) -> dict[str, Any]:
    """Returns the content of metrics.json: figures of test and validation part, and of the majority class on the test
    part. `before` is the test part before its calibration, None if that changes nothing.
    """
    values: dict[str, Any] = {"protocol": protocol, "test": metrics(test)}
    if validation is not None:
        values["validation"] = metrics(validation)
    if before is not None:
        uncalibrated = metrics(before)
        values["test_uncalibrated"] = {name: uncalibrated[name] for name in ("nll", "brier", "ece")}
    if TRAIN in census.rows:
        counts = [census.parts[TRAIN][label] for label in census.classes.labels]
        values["majority"] = metrics(majority(test, counts, census.rows[TRAIN]))
    return values


def remarks(test: Outcomes, values: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is to be said of a model that has learned nothing; `values` are the `figures` of the test part."""
    decisions, true = test.decisions, test.true
    if len(test) < 2 or (true == true[0]).all():
        return
    majority, macro = values.get("majority"), values["test"]["macro_f1"]
    if (decisions == decisions[0]).all():
        said = class_names(decisions[:1], test.labels)[0]
        also = ", as the majority baseline does" if majority and majority["macro_f1"] == macro else ""
        found = (
            f"the model says {said!r} of every row of the test part{also}"
            if said
            else (f"the model says of no row of the test part that it has a class{also}")
        )
    elif majority and macro <= majority["macro_f1"]:
        found = f"the macro F1 of {macro:.3f} is not above that of always saying the most frequent class"
    else:
        return
    yield (
        f"{found}: it has not learned to tell the classes apart; more epochs=, another optimizer.lr= or "
        "class_weights=balanced may help"
    )
