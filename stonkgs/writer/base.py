"""The base of all writers: a Lightning callback that writes a part for each split, and joins the parts at the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from stonkgs.batch import Batch, SplitEnd, trim_memory
from stonkgs.config.values import checked
from stonkgs.disk import publish
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.model.decision import class_names, predicted_classes
from stonkgs.runs.account import Account
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.folder import RunFolder, UnfinishedRun
from stonkgs.runs.job import Job
from stonkgs.runs.presence import Presence
from stonkgs.runs.record import now
from stonkgs.tables.exact_json import NOT_FINITE
from stonkgs.tables.format import Format

PREDICTION = "prediction"
#: Columns of bool: whether the nodes have an embedding, and whether the sentence was longer than the model reads.
FLAGS = ("source_known", "target_known", "text_truncated")


class HeldBatch(NamedTuple):
    """What is kept of a batch until its split is complete."""

    #: int64 [B]: the rows' places in their split
    positions: npt.NDArray[np.int64]
    #: the input's columns that are passed through
    columns: pa.RecordBatch
    #: int8 [B, 2] and bool [B]: see Batch
    found: npt.NDArray[np.int8]
    truncated: npt.NDArray[np.bool_]
    #: float32 [B, classes]
    probabilities: npt.NDArray[np.float32]


class PredictionWriter(BasePredictionWriter, ABC):
    """Streams predictions to disk. A subclass sets its `format`, one of those in `stonkgs.tables`.

    A split's batches are held until its last one, sorted into the input's order, and written as one part. At the end
    all parts are joined to `predictions.<extension>`, which appears complete or not at all.
    """

    #: the format's extension of file names
    extension: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if isinstance(cls.format, Format):
            cls.extension = cls.format.extension

    @property
    @abstractmethod
    def format(self) -> Format:
        """How parts are written and joined; a class attribute of the subclass."""

    @checked("writer")
    def __init__(self, *, prefix: str = "", columns: Sequence[str] | None = None) -> None:
        super().__init__(write_interval="batch")
        self.prefix = prefix
        #: names of the input's columns that are passed through, in this order; None: all
        self.columns = columns
        #: split -> its batches so far
        self._open: dict[int, list[HeldBatch]] = {}

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Writes one part, which is a complete file of the format."""
        self.format.write(table, file)

    def header(self, schema: pa.Schema) -> bytes:
        """Returns the bytes before the first row."""
        return self.format.header(schema)

    def check(self, schema: pa.Schema) -> None:
        """Raises UserError where the format cannot hold a column. Called before any row is predicted."""
        self.format.check(schema)

    def verify(self, part: Path, rows: int) -> None:
        """Raises OSError where a part of this many rows, closed but not committed yet, cannot be read back."""
        self.format.verify(part, rows)

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Writes one file of all parts, in order, at constant memory."""
        self.format.join(parts, schema, file)

    def start(self, job: Job, *, overwrite: bool = False) -> UnfinishedRun | FinishedRun:
        """Begins a run, or joins the one under way in its folder and takes over its plan as `job.plan`.

        With `overwrite` the run starts anew. Raises UserError, and changes nothing, where `prepare` or
        `RunFolder.begin` do.
        """
        self.prepare(job)
        run = self.folder.begin(job.plan, job.record, defaults=job.defaults, overwrite=overwrite)
        if isinstance(run, UnfinishedRun):
            self.run, job.plan = run, run.plan
            self.parts = self.folder.parts(run.id)
            self.presence = Presence(self.parts.path)
        return run

    def prepare(self, job: Job) -> None:
        """Sets the output's columns. Raises UserError where two have the same name, or one cannot be written."""
        self.job = job
        self.passed = self._passed(job.plan.schema)
        self.schema = self._output_schema(job)
        self.check(self.schema)
        self.folder = RunFolder(job.output_dir, self.extension)

    def write_on_batch_end(  # Lightning's hook
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        self.add(batch, prediction.cpu().numpy())

    def advice(self) -> str:
        """Says what an interrupted run has kept, and how to continue it."""
        done, count = int(self.parts.listed(len(self.job.plan)).sum()), len(self.job.plan)
        return f"{done:,} of {count:,} splits are done and kept; the same command continues"

    def kept(self) -> str:
        """Says the same of a run that has failed; "" where no split is done."""
        return self.advice() if self.parts.listed(len(self.job.plan)).any() else ""

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of this process: Lightning is set up now."""
        self.presence = Presence(self.parts.path)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Drops the batches of incomplete splits."""
        self._open.clear()
        self.presence.leave()

    def add(self, batch: Batch, probabilities: npt.NDArray[np.float32]) -> None:
        """Takes a batch with its probabilities, float32 [B, classes]; with its last batch, a split is committed."""
        columns = batch.columns.select(self.passed.names)
        held = HeldBatch(batch.positions, columns, batch.found, batch.truncated, probabilities)
        self._open.setdefault(batch.split, []).append(held)
        rows = len(batch)
        if batch.end is not None:
            rows += len(batch.end.rejected)
            self._commit(batch.split, self._open.pop(batch.split), batch.end)
            trim_memory()
        self.presence.report(rows, ended=batch.end is not None, holds=self._open)

    def finish(self) -> Account:
        """Joins the parts and the rejected rows in the input's order; returns the account of the whole run.

        One process joins, and the others wait for it. Afterwards `published` is the name of the predictions in the
        folder; it is None, and there is no `_SUCCESS`, where every row was rejected. Raises UserError where another
        run has replaced this one.
        """
        self.presence.leave()
        folder, plan_id = self.folder, self.run.id
        with folder.locked():
            if folder.is_current(plan_id):
                if not folder.is_joined(plan_id):
                    self._join()
                folder.seal(plan_id)
        finished = folder.finished()
        if finished is None or finished.plan != plan_id:
            raise UserError(f"{folder.path}: another run was started here meanwhile (overwrite=true)")
        self.published = finished.predictions
        return finished.account

    def _join(self) -> None:
        """Joins all files inside the folder of parts, which takes time, and then renames them to their places."""
        plan, folder, parts = self.job.plan, self.folder, self.parts
        if not (done := parts.listed(len(plan))).all():
            split = plan[int(done.argmin())]
            raise RuntimeError(f"{split.file}: split {split.number} of {len(plan)} was not predicted")
        try:
            rejected, predictions = folder.rejected, folder.predictions
            with publish(parts.path / rejected.name, lasting=False) as file:
                accounts = ((int(plan.file[split]), parts.account(split)) for split in range(len(plan)))
                total = Account.join(accounts, [self.job.first_line(name) for name in plan.files], file)
            useful = bool(total.predicted or not total.rejected)
            merged = useful and self.job.merge
            if merged:
                with publish(parts.path / predictions.name, lasting=False) as file:
                    self.join((parts.rows(split) for split in range(len(plan))), self.schema, file)
            name = predictions.name if merged else folder.kept.name if useful else None
            folder.retract(self.run.id, name)
            (parts.path / rejected.name).replace(rejected)
            if merged:
                (parts.path / predictions.name).replace(predictions)
            finished = FinishedRun(
                record=self.run.record,
                plan=self.run.id,
                finished=now(),
                splits=len(plan),
                account=total,
                predictions=name,
            )
            folder.write_record(finished, parts)
        except (FileNotFoundError, UserError):
            if not folder.is_joined(self.run.id):  # without locks, another process may have joined them meanwhile
                raise

    def _commit(self, split: int, held: Sequence[HeldBatch], end: SplitEnd) -> None:
        """Writes the account and then the rows of a split, unless another process has done so."""
        if end.elsewhere or split in self.parts:
            return
        if self.job.on_rejected:
            for rejection in end.rejected:
                self.job.on_rejected(rejection)
        table = self._table(held)
        account = _account(held, end, self.job)
        if nulls := self.format.made_null(table):
            account.made_null[NOT_FINITE] = account.made_null.get(NOT_FINITE, 0) + nulls
        try:
            with publish(self.parts.account(split), lasting=False) as file:
                account.write(end.rejected, file)
            # The rename of the rows is what makes the split count: all else is on disk before it.
            rows = self.parts.rows(split)
            with publish(rows, check=lambda part: self.verify(part, len(table)), lasting=False) as file:
                self.write(table, file)
        except UserError:
            if split not in self.parts:  # else the run was finished or replaced, which `finish` finds out
                raise

    def _table(self, held: Sequence[HeldBatch]) -> pa.Table:
        """Returns a split's rows in the input's order: columns passed through, probabilities, prediction, flags."""
        probabilities = np.concatenate([batch.probabilities for batch in held])
        predicted = class_names(predicted_classes(probabilities, multi_label=self.job.multi_label), self.job.labels)
        columns = pa.Table.from_batches([batch.columns for batch in held]).columns
        columns += [pa.array(values, pa.float32()) for values in probabilities.T]
        columns += [pa.array(predicted, pa.string())]
        known = np.concatenate([batch.found for batch in held]) != Found.UNKNOWN
        truncated = np.concatenate([batch.truncated for batch in held])
        columns += [pa.array(flag) for flag in (*known.T.copy(), truncated)]  # in the order of FLAGS
        order = np.argsort(np.concatenate([batch.positions for batch in held]))
        return pa.Table.from_arrays(columns, schema=self.schema).take(pa.array(order))

    def _output_schema(self, job: Job) -> pa.Schema:
        fields = [pa.field(self.prefix + label, pa.float32()) for label in job.labels]
        fields.append(pa.field(self.prefix + PREDICTION, pa.string()))
        fields += [pa.field(self.prefix + flag, pa.bool_()) for flag in FLAGS]
        names = [column.name for column in fields]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"the model's labels give several output columns named {repeated}: rename with model.labels="
            )
        if taken := sorted(set(names) & set(self.passed.names)):
            raise UserError(
                f"the input has columns {taken}, which are output columns too: set writer.prefix=, for example "
                "stonkgs_, or leave them out with writer.columns="
            )
        return pa.schema([*self.passed, *fields])

    def _passed(self, schema: pa.Schema) -> pa.Schema:
        """Returns the input's columns that are passed through. Raises UserError for a name that is wrong."""
        if self.columns is None:
            return schema
        for name in self.columns:
            if name not in schema.names:
                raise UserError(f"writer.columns: the input has no column {name!r}; there are {schema.names}")
        if len(set(self.columns)) < len(self.columns):
            raise UserError(f"writer.columns: {list(self.columns)} names a column twice")
        return pa.schema([schema.field(name) for name in self.columns])


def _account(held: Sequence[HeldBatch], end: SplitEnd, job: Job) -> Account:
    """Returns the counts of a split."""
    found = np.concatenate([batch.found for batch in held]).ravel()
    probabilities = np.concatenate([batch.probabilities for batch in held])
    counts = predicted_classes(probabilities, multi_label=job.multi_label).sum(axis=0).tolist()
    return Account(
        predicted=sum(len(batch.positions) for batch in held),
        rejected=len(end.rejected),
        nodes_exact=int((found == Found.EXACT).sum()),
        nodes_identifier=int((found == Found.IDENTIFIER).sum()),
        nodes_unknown=int((found == Found.UNKNOWN).sum()),
        texts_truncated=int(sum(batch.truncated.sum() for batch in held)),
        classes=dict(zip(job.labels, counts, strict=True)),
        without_row=dict(end.tally.without_row),
        made_null=dict(end.tally.made_null),
        records=end.tally.records,
        lines=end.tally.lines,
    )
