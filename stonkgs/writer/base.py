"""The base of all writers: a Lightning callback that writes a part for each split, and joins the parts at the end."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from stonkgs.batch import Batch, SplitEnd, trim_memory
from stonkgs.config.values import checked
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.model.answer import Answer
from stonkgs.runs.account import Account
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.job import Job
from stonkgs.runs.plan_file import UnfinishedRun
from stonkgs.runs.presence import Presence
from stonkgs.tables.format import Format
from stonkgs.writer.joining import DamagedPartsError, Join, Joining
from stonkgs.writer.part import HeldBatch, OpenPart

#: Columns of bool: whether the nodes have an embedding, and whether the sentence was longer than the model reads.
FLAGS = ("source_known", "target_known", "text_truncated")


class PredictionWriter(BasePredictionWriter, ABC):
    """Streams predictions or embeddings to disk. A subclass sets its `format`, one of those in `stonkgs.tables`.

    A split's batches are held until its last one, sorted into the input's order, and written as one part. At the end
    all parts are joined to the run's results, `predictions.<extension>` or `embeddings.<extension>`, which appear
    complete or not at all.
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
        #: split -> its part so far
        self._open: dict[int, OpenPart] = {}

    def check(self, schema: pa.Schema) -> None:
        """Raises UserError where the format cannot hold a column. Called before any row is predicted."""
        self.format.check(schema)

    def joins(self, answer: Answer) -> Mapping[str, Join]:
        """Returns the names of a run's results, the most important one first, and what writes each from all parts."""
        return {f"{answer.name}.{self.extension}": self._join}

    def _join(self, parts: Iterator[Path], rows: int, file: BinaryIO) -> None:
        """Writes one file of all parts, in order, at constant memory."""
        self.format.join(parts, self.schema, file)

    def run_folder(self, path: Path, answer: Answer) -> RunFolder:
        """Returns the folder of a run that this writer writes."""
        return RunFolder(path, self.extension, tuple(self.joins(answer)))

    def start(self, job: Job, *, overwrite: bool = False) -> UnfinishedRun | FinishedRun:
        """Begins a run, or joins the one under way in its folder and takes over its plan as `job.plan`.

        With `overwrite` the run starts anew. Raises UserError, and changes nothing, where `prepare` or
        `RunFolder.begin` do.
        """
        self.prepare(job)
        run = self.folder.begin(job.plan, job.record, defaults=job.defaults, overwrite=overwrite)
        if isinstance(run, UnfinishedRun):
            job.plan = run.plan
            self.parts = self.folder.parts(run.id)
            self._joining = Joining(run, job, self.folder, self.joins(job.answer))
            self.presence = Presence(self.parts.path)
        return run

    def prepare(self, job: Job) -> None:
        """Sets the output's columns. Raises UserError where two have the same name, or one cannot be written."""
        self.job = job
        self.passed = self._passed(job.plan.schema)
        self.schema = self._output_schema(job)
        self.check(self.schema)
        self.folder = self.run_folder(job.output_dir, job.answer)

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
        if not self.presence.rows:  # else some splits are done again
            self.presence = Presence(self.parts.path)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Drops what there is of incomplete splits."""
        self.drop()
        self.presence.leave()

    def drop(self) -> None:
        """Removes what is written of splits that are not committed."""
        while self._open:
            self._open.popitem()[1].abandon()

    def add(self, batch: Batch, outputs: npt.NDArray[np.float32]) -> None:
        """Takes a batch with what the model gave for it: see `Answer`. With its last batch, a split is committed."""
        columns = batch.columns.select(self.passed.names)
        held = HeldBatch(batch.positions, columns, batch.found, batch.truncated, outputs, batch.relations_known)
        if (part := self._open.get(batch.split)) is None:
            part = OpenPart(batch.split, self.parts, self.format, self.job, self.schema, self._table)
            self._open[batch.split] = part
        if self.job.on_rejected and not (batch.end and batch.end.elsewhere):
            for rejection in batch.rejected:
                self.job.on_rejected(rejection)
        try:
            self._pass_on(part, held, batch)
        except UserError:
            part.abandon()
            if batch.split not in self.parts:
                raise
            part.elsewhere = True  # or the run was finished or replaced, which `finish` finds out
        if batch.end is not None:
            del self._open[batch.split]
            trim_memory()
        self.presence.report(len(batch) + len(batch.rejected), ended=batch.end is not None, holds=self._open)

    def _pass_on(self, part: OpenPart, held: HeldBatch, batch: Batch) -> None:
        if not part.elsewhere:
            part.add(held)
            part.reject(batch.rejected)
        if batch.end is not None:
            self._commit(part, batch.end)

    def run(self, work: Callable[[], object]) -> Account:
        """Does the work that commits all splits, and finishes the run; does it again for parts that were damaged."""
        while True:
            work()
            with suppress(DamagedPartsError):
                return self.finish()

    def finish(self) -> Account:
        """Joins the parts and the rejected rows in the input's order; returns the account of the whole run.

        One process joins, and the others wait for it. Afterwards `finished` describes the run, and `published` is the
        name of the predictions in the folder; it is None, and there is no `_SUCCESS`, where every row was rejected.
        Raises DamagedPartsError where parts are no longer what was written: then they are not committed any more.
        Raises UserError where another run has replaced this one, or the input has changed.
        """
        self.presence.leave()
        self.finished = self._joining.finish()
        self.published = self.finished.predictions
        return self.finished.account

    def _commit(self, part: OpenPart, end: SplitEnd) -> None:
        """Commits a split, unless another process has done so."""
        if end.elsewhere or part.elsewhere or part.split in self.parts:
            part.abandon()
            return
        self.job.check_files()
        part.commit(end.tally)

    def _table(self, held: Sequence[HeldBatch]) -> pa.Table:
        """Returns a split's rows in the input's order: columns passed through, the answer's columns, flags."""
        columns = pa.Table.from_batches([batch.columns for batch in held]).columns
        columns += self.job.answer.columns(np.concatenate([batch.outputs for batch in held]))
        known = np.concatenate([batch.found for batch in held]) != Found.UNKNOWN
        truncated = np.concatenate([batch.truncated for batch in held])
        columns += [pa.array(flag) for flag in (*known.T.copy(), truncated)]  # in the order of FLAGS
        order = np.argsort(np.concatenate([batch.positions for batch in held]))
        return pa.Table.from_arrays(columns, schema=self.schema).take(pa.array(order))

    def _output_schema(self, job: Job) -> pa.Schema:
        fields = [field.with_name(self.prefix + field.name) for field in job.answer.fields]
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
