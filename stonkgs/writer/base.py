"""What every writer is: a callback that makes a part of each split, and joins the parts at the end."""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from stonkgs.batch import FLAGS, Batch
from stonkgs.errors import UserError
from stonkgs.memory import give_back
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection
from stonkgs.writer.account import Account
from stonkgs.writer.disk import make_folder, publish

PREDICTION = "prediction"
#: The last file of a run: it is there when everything else is.
SUCCESS = "_SUCCESS"


@dataclass(slots=True)
class Task:
    """What a writer has to know about the run that it writes."""

    output_dir: Path
    plan: Plan
    #: class names in the order of the probabilities
    labels: Sequence[str]
    #: number of lines of a file before its first record's: `Source.first_line`
    first_line: Callable[[str], int]
    #: what run.json says of the run: configuration, versions, fingerprints
    record: dict[str, Any] = field(default_factory=dict)
    #: called with each rejected row as soon as its split is through; may raise
    on_rejected: Callable[[Rejection], None] = field(default=lambda _: None)


class PredictionWriter(BasePredictionWriter, ABC):
    """Streams predictions to disk. A format writes `extension`, `write`, and `header` or `join` where it needs one.

    A split's batches are held until its last one, put into the input's order, and written as one part. When the last
    part is in, the parts become `predictions.<extension>`, complete or not at all.
    """

    extension: ClassVar[str]

    def __init__(self, *, prefix: str = "") -> None:
        super().__init__(write_interval="batch")
        self.prefix = prefix
        self._open: dict[int, list[tuple[Batch, npt.NDArray[np.float32]]]] = {}

    @abstractmethod
    def write(self, table: pa.Table, file: BinaryIO) -> None:
        """Write one part's rows."""

    def header(self, schema: pa.Schema) -> bytes:
        """What comes before the first part's rows."""
        return b""

    def join(self, parts: Iterator[Path], schema: pa.Schema, file: BinaryIO) -> None:
        """One file of all parts, in order, at constant memory. Enough for formats whose parts can be concatenated."""
        file.write(self.header(schema))
        for part in parts:
            with open(part, "rb") as rows:
                shutil.copyfileobj(rows, file)

    def start(self, task: Task, *, overwrite: bool = False) -> None:
        """Begin a run in a new folder, or in one where none was finished.

        Raises UserError, and touches nothing, where a finished run lies there (unless `overwrite`), or where an output
        column would hide one of the input's.
        """
        self.task = task
        self.schema = self._output_schema(task)
        if (task.output_dir / SUCCESS).exists() and not overwrite:
            raise UserError(
                f"{task.output_dir}: holds a finished run; choose another output_dir=, or replace it: overwrite=true"
            )
        self.parts = make_folder(task.output_dir / "parts")
        self._remove_earlier()
        self._write_record({})

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
        self._open.setdefault(batch.split, []).append((batch, probabilities))
        if batch.end is not None:
            self._commit(batch.split, self._open.pop(batch.split))
            give_back()

    def finish(self) -> Account:
        """Join the parts and what was rejected, in the input's order; the whole run's account.

        Where every row was rejected there are no predictions, and no `_SUCCESS`.
        """
        plan, folder = self.task.plan, self.task.output_dir
        for split in plan:
            if not self._part(split.number).exists():
                raise RuntimeError(f"{split.file}: split {split.number} of {len(plan)} was not predicted")
        accounts = ((plan[split].file, self._account(split)) for split in range(len(plan)))
        with publish(folder / "rejected.jsonl") as file:
            total = Account.join(accounts, self.task.first_line, file)
        useless = total.rejected and not total.predicted
        if not useless:
            with publish(folder / f"predictions.{self.extension}") as file:
                self.join((self._part(split) for split in range(len(plan))), self.schema, file)
        self._write_record({"read": total.read, "predicted": total.predicted, "rejected": total.rejected})
        shutil.rmtree(self.parts)
        if not useless:
            with publish(folder / SUCCESS):
                pass
        return total

    def _commit(self, split: int, batches: Sequence[tuple[Batch, npt.NDArray[np.float32]]]) -> None:
        end = batches[-1][0].end
        assert end is not None
        for rejection in end.rejected:
            self.task.on_rejected(rejection)
        table = self._table(batches)
        with publish(self._account(split)) as file:
            Account(predicted=len(table), rejected=len(end.rejected), lines=end.lines).write(end.rejected, file)
        # The part's rename is what makes the split count: all else is on disk before it.
        with publish(self._part(split)) as file:
            self.write(table, file)

    def _table(self, batches: Sequence[tuple[Batch, npt.NDArray[np.float32]]]) -> pa.Table:
        """One split's rows in the input's order: its columns, probabilities, prediction and flags."""
        probabilities = np.concatenate([values for _, values in batches])
        best = pa.array(probabilities.argmax(axis=1) if len(probabilities) else [], pa.int32())
        columns = pa.Table.from_batches([batch.columns for batch, _ in batches]).columns
        columns += [pa.array(values, pa.float32()) for values in probabilities.T]
        columns += [pa.array(self.task.labels, pa.string()).take(best)]
        columns += [pa.array(np.concatenate([batch.flags[flag] for batch, _ in batches])) for flag in FLAGS]
        order = np.argsort(np.concatenate([batch.positions for batch, _ in batches]))
        return pa.Table.from_arrays(columns, schema=self.schema).take(pa.array(order))

    def _output_schema(self, task: Task) -> pa.Schema:
        fields = [pa.field(self.prefix + label, pa.float32()) for label in task.labels]
        fields.append(pa.field(self.prefix + PREDICTION, pa.string()))
        fields += [pa.field(self.prefix + flag, pa.bool_()) for flag in FLAGS]
        names = [column.name for column in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"the model's labels give several output columns named {twice}: rename with model.labels=")
        if taken := sorted(set(names) & set(task.plan.schema.names)):
            raise UserError(
                f"the input has columns {taken}, which are output columns too: set writer.prefix=, for example stonkgs_"
            )
        return pa.schema([*task.plan.schema, *fields])

    def _part(self, split: int) -> Path:
        return self.parts / f"{split:08d}.{self.extension}"

    def _account(self, split: int) -> Path:
        return self.parts / f"{split:08d}.account.jsonl"

    def _write_record(self, result: dict[str, int]) -> None:
        text = json.dumps(self.task.record | {"result": result or None}, indent=2, ensure_ascii=False, default=str)
        with publish(self.task.output_dir / "run.json") as file:
            file.write(text.encode() + b"\n")

    def _remove_earlier(self) -> None:
        """What a run in the same folder has left: all of a finished one, the parts of one that died."""
        folder = self.task.output_dir
        for path in (folder / SUCCESS, *folder.glob("predictions.*"), folder / "rejected.jsonl", *self.parts.iterdir()):
            path.unlink(missing_ok=True)
