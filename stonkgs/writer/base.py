"""What every writer is: a callback that makes a part of each split, and joins the parts at the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

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
from stonkgs.runs.finished import Finished
from stonkgs.runs.folder import Begun, RunFolder
from stonkgs.runs.job import Job
from stonkgs.runs.presence import Presence
from stonkgs.runs.record import now
from stonkgs.tables.format import Format

PREDICTION = "prediction"
#: bool columns: whether the nodes have an embedding, and whether the sentence was longer than the model reads
FLAGS = ("source_known", "target_known", "text_truncated")


class Held(NamedTuple):
    """What is kept of a batch until its split is through."""

    positions: npt.NDArray[np.int64]
    columns: pa.RecordBatch
    #: int8 [B, 2], bool [B]: see Batch
    found: npt.NDArray[np.int8]
    truncated: npt.NDArray[np.bool_]
    #: float32 [B, classes]
    probabilities: npt.NDArray[np.float32]


class PredictionWriter(BasePredictionWriter, ABC):
    """Streams predictions to disk. A subclass names its `format`; the formats are in `stonkgs.tables`.

    The batches of a split are held until its last one, put into the input's order, and written as one part. After the
    last part, the parts become `predictions.<extension>`: the whole file, or none.
    """

    #: the ending of the files' names; it is the format's
    extension: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if isinstance(cls.format, Format):
            cls.extension = cls.format.extension

    @property
    @abstractmethod
    def format(self) -> Format:
        """How parts are written and joined. A subclass sets it as a class attribute."""

    @checked("writer")
    def __init__(self, *, prefix: str = "", columns: Sequence[str] | None = None) -> None:
        super().__init__(write_interval="batch")
        self.prefix = prefix
        #: the input's columns that are passed through, in this order; None for all
        self.columns = columns
        self._open: dict[int, list[Held]] = {}

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write one part, which is a file of the format by itself."""
        self.format.write(table, file)

    def header(self, schema: pa.Schema) -> bytes:
        """Returns what comes before the rows."""
        return self.format.header(schema)

    def check(self, schema: pa.Schema) -> None:
        """Raise UserError where the format cannot hold a column: before the work, not after it."""
        self.format.check(schema)

    def verify(self, part: Path, rows: int) -> None:
        """Raise OSError where a part of so many rows, closed and not committed yet, cannot be read back."""
        self.format.verify(part, rows)

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """Write one file of all parts, in order, at constant memory."""
        self.format.join(parts, schema, file)

    def start(self, job: Job, *, overwrite: bool = False) -> Begun | Finished:
        """Begin a run, or join the one that is under way in its folder; `job.plan` is then that one's.

        Raises UserError, and touches nothing, where `prepare` does, or where the folder holds something that this run
        would destroy, or another run; with `overwrite` it starts anew.
        """
        self.prepare(job)
        state = self.folder.begin(job.plan, job.record, decided=job.decided, overwrite=overwrite)
        if isinstance(state, Begun):
            self.run, job.plan = state, state.plan
            self.parts = self.folder.parts(state.id)
            self.presence = Presence(self.parts.path)
        return state

    def prepare(self, job: Job) -> None:
        """Settle the output's columns; UserError where one would hide one of the input's, or cannot be written."""
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
        """What is kept where the run was interrupted, and how to go on."""
        done, count = int(self.parts.listed(len(self.job.plan)).sum()), len(self.job.plan)
        return f"{done:,} of {count:,} splits are done and kept; the same command continues"

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning has started all processes by now: time counts from here."""
        self.presence = Presence(self.parts.path)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Drop what is open."""
        self._open.clear()
        self.presence.leave()

    def add(self, batch: Batch, probabilities: npt.NDArray[np.float32]) -> None:
        """Take one batch with its probabilities [B, classes]; a split's last batch writes the split's part."""
        kept = batch.columns.select(self.passed.names)
        held = Held(batch.positions, kept, batch.found, batch.truncated, probabilities)
        self._open.setdefault(batch.split, []).append(held)
        rows = len(batch)
        if batch.end is not None:
            rows += len(batch.end.rejected)
            self._commit(batch.split, self._open.pop(batch.split), batch.end)
            trim_memory()
        self.presence.tell(rows, ended=batch.end is not None, holds=self._open)

    def finish(self) -> Account:
        """Join the parts and what was rejected, in the input's order; the whole run's account.

        Of several processes one does, and the others wait for it. `published` is then the predictions' name in the
        folder; where every row was rejected there are none, and no `_SUCCESS`. UserError where another run has taken
        the folder over.
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
        """All that takes time is done in the folder of parts; then it gets its place by renames."""
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
            told: dict[str, Any] = {"plan": self.run.id, "finished": now(), "splits": len(plan)}
            finished = Finished(record=self.run.record, account=total, predictions=name, **told)
            folder.write_record(finished, parts)
        except (FileNotFoundError, UserError):
            if not folder.is_joined(self.run.id):  # else another process has joined them: where there are no locks
                raise

    def _commit(self, split: int, held: Sequence[Held], end: SplitEnd) -> None:
        if end.elsewhere or split in self.parts:
            return
        for rejection in end.rejected:
            self.job.on_rejected(rejection)
        table = self._table(held)
        try:
            with publish(self.parts.account(split), lasting=False) as file:
                _account(held, end, self.job).write(end.rejected, file)
            # The rename of the rows is what makes the split count: all else is on disk before it.
            rows = self.parts.rows(split)
            with publish(rows, check=lambda part: self.verify(part, len(table)), lasting=False) as file:
                self.write(table, file)
        except UserError:
            if split not in self.parts:  # else the run was finished, or replaced: `finish` will tell
                raise

    def _table(self, held: Sequence[Held]) -> pa.Table:
        """One split's rows in the input's order: its columns, probabilities, prediction and flags."""
        probabilities = np.concatenate([batch.probabilities for batch in held])
        said = class_names(predicted_classes(probabilities, multi_label=self.job.multi_label), self.job.labels)
        columns = pa.Table.from_batches([batch.columns for batch in held]).columns
        columns += [pa.array(values, pa.float32()) for values in probabilities.T]
        columns += [pa.array(said, pa.string())]
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
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"the model's labels give several output columns named {twice}: rename with model.labels=")
        if taken := sorted(set(names) & set(self.passed.names)):
            raise UserError(
                f"the input has columns {taken}, which are output columns too: set writer.prefix=, for example "
                "stonkgs_, or leave them out with writer.columns="
            )
        return pa.schema([*self.passed, *fields])

    def _passed(self, schema: pa.Schema) -> pa.Schema:
        """The input's columns that are passed through."""
        if self.columns is None:
            return schema
        for name in self.columns:
            if name not in schema.names:
                raise UserError(f"writer.columns: the input has no column {name!r}; there are {schema.names}")
        if len(set(self.columns)) < len(self.columns):
            raise UserError(f"writer.columns: {list(self.columns)} names a column twice")
        return pa.schema([schema.field(name) for name in self.columns])


def _account(held: Sequence[Held], end: SplitEnd, job: Job) -> Account:
    """What has become of a split's records."""
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
        records=end.tally.records,
        lines=end.tally.lines,
    )
