"""What every writer is: a callback that makes a part of each split, and joins the parts at the end."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from stonkgs.batch import Batch, SplitEnd
from stonkgs.disk import publish
from stonkgs.encode.encoder import Found
from stonkgs.errors import UserError
from stonkgs.memory import give_back
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection
from stonkgs.writer.account import Account
from stonkgs.writer.folder import RunFolder

PREDICTION = "prediction"
#: bool columns: whether the nodes have an embedding, and whether the sentence was longer than the model reads
FLAGS = ("source_known", "target_known", "text_truncated")


@dataclass(slots=True)
class Task:
    """What a writer has to know about the run that it writes."""

    output_dir: Path
    plan: Plan
    #: class names in the order of the probabilities
    labels: Sequence[str]
    #: number, from 1, of a file's first line below its header: `Source.first_line`
    first_line: Callable[[str], int]
    #: what run.json says of the run: configuration, versions, fingerprints
    record: dict[str, Any] = field(default_factory=dict)
    #: called with each rejected row as soon as its split is through; may raise
    on_rejected: Callable[[Rejection], None] = field(default=lambda _: None)


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
    """Streams predictions to disk. A format writes `extension`, `write`, and `header` or `join` where it needs one.

    A split's batches are held until its last one, put into the input's order, and written as one part. When the last
    part is in, the parts become `predictions.<extension>`, complete or not at all.
    """

    extension: ClassVar[str]

    def __init__(self, *, prefix: str = "", columns: Sequence[str] | None = None) -> None:
        if not isinstance(prefix, str):
            raise UserError(f"writer.prefix is {prefix!r}; it is a text, for example stonkgs_")
        if columns is not None and (isinstance(columns, str) or not all(isinstance(name, str) for name in columns)):
            raise UserError(f"writer.columns is {columns!r}; it is a list of the input's columns, such as [id,source]")
        super().__init__(write_interval="batch")
        self.prefix = prefix
        #: the input's columns that are passed through, in this order; None for all
        self.columns = columns
        self._open: dict[int, list[Held]] = {}

    @abstractmethod
    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write one part's rows."""

    def header(self, schema: pa.Schema) -> bytes:
        """What comes before the first part's rows."""
        return b""

    def check(self, schema: pa.Schema) -> None:
        """UserError where the format cannot hold a column: said before the work, not after it."""
        return

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """One file of all parts, in order, at constant memory. Enough for formats whose parts can be concatenated."""
        file.write(self.header(schema))
        for part in parts:
            with open(part, "rb") as rows:
                shutil.copyfileobj(rows, file)

    def start(self, task: Task, *, overwrite: bool = False) -> None:
        """Begin a run.

        Raises UserError, and touches nothing, where `prepare` does, or where the folder holds something that this run
        would destroy (a finished run may be, with `overwrite`).
        """
        self.prepare(task)
        self.folder.claim(task.plan, task.record, overwrite=overwrite)

    def prepare(self, task: Task) -> None:
        """Settle the output's columns; UserError where one would hide one of the input's, or cannot be written."""
        self.task = task
        self.passed = self._passed(task.plan.schema)
        self.schema = self._output_schema(task)
        self.check(self.schema)
        self.folder = RunFolder(task.output_dir, self.extension)

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

    def add(self, batch: Batch, probabilities: npt.NDArray[np.float32]) -> None:
        """Take one batch with its probabilities [B, classes]; a split's last batch writes the split's part."""
        kept = batch.columns.select(self.passed.names)
        held = Held(batch.positions, kept, batch.found, batch.truncated, probabilities)
        self._open.setdefault(batch.split, []).append(held)
        if batch.end is not None:
            self._commit(batch.split, self._open.pop(batch.split), batch.end)
            give_back()

    def finish(self) -> Account:
        """Join the parts and what was rejected, in the input's order; the whole run's account.

        Where every row was rejected there are no predictions, and no `_SUCCESS`.
        """
        plan, folder = self.task.plan, self.folder
        for split in plan:
            if not folder.part(split.number).exists():
                raise RuntimeError(f"{split.file}: split {split.number} of {len(plan)} was not predicted")
        folder.retract()
        with publish(folder.rejected) as file:
            accounts = ((int(plan.file[split]), folder.account(split)) for split in range(len(plan)))
            total = Account.join(accounts, [self.task.first_line(name) for name in plan.files], file)
        useful = total.predicted or not total.rejected
        if useful:
            with publish(folder.predictions) as file:
                self.join((folder.part(split) for split in range(len(plan))), self.schema, file)
        result = {"read": total.read} | {key: value for key, value in asdict(total).items() if key != "lines"}
        name = folder.predictions.name if useful else None
        folder.write_record(folder.record, self.task.record | {"result": result, "predictions": name})
        folder.close()
        if useful:
            with publish(folder.success):
                pass
        return total

    def _commit(self, split: int, held: Sequence[Held], end: SplitEnd) -> None:
        for rejection in end.rejected:
            self.task.on_rejected(rejection)
        table = self._table(held)
        with publish(self.folder.account(split)) as file:
            _account(held, end, self.task.labels).write(end.rejected, file)
        # The part's rename is what makes the split count: all else is on disk before it.
        with publish(self.folder.part(split)) as file:
            self.write(table, file)

    def _table(self, held: Sequence[Held]) -> pa.Table:
        """One split's rows in the input's order: its columns, probabilities, prediction and flags."""
        probabilities = np.concatenate([batch.probabilities for batch in held])
        best = pa.array(probabilities.argmax(axis=1) if len(probabilities) else [], pa.int32())
        columns = pa.Table.from_batches([batch.columns for batch in held]).columns
        columns += [pa.array(values, pa.float32()) for values in probabilities.T]
        columns += [pa.array(self.task.labels, pa.string()).take(best)]
        known = np.concatenate([batch.found for batch in held]) != Found.UNKNOWN
        truncated = np.concatenate([batch.truncated for batch in held])
        columns += [pa.array(flag) for flag in (*known.T.copy(), truncated)]  # in the order of FLAGS
        order = np.argsort(np.concatenate([batch.positions for batch in held]))
        return pa.Table.from_arrays(columns, schema=self.schema).take(pa.array(order))

    def _output_schema(self, task: Task) -> pa.Schema:
        fields = [pa.field(self.prefix + label, pa.float32()) for label in task.labels]
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


def _account(held: Sequence[Held], end: SplitEnd, labels: Sequence[str]) -> Account:
    """What has become of a split's records."""
    found = np.concatenate([batch.found for batch in held]).ravel()
    best = np.concatenate([batch.probabilities for batch in held]).argmax(axis=1)
    counts = np.bincount(best, minlength=len(labels)).tolist()
    return Account(
        predicted=sum(len(batch.positions) for batch in held),
        rejected=len(end.rejected),
        nodes_exact=int((found == Found.EXACT).sum()),
        nodes_identifier=int((found == Found.IDENTIFIER).sum()),
        nodes_unknown=int((found == Found.UNKNOWN).sum()),
        texts_truncated=int(sum(batch.truncated.sum() for batch in held)),
        classes=dict(zip(labels, counts, strict=True)),
        lines=end.lines,
    )
