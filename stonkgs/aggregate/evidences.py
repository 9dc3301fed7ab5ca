"""The rows of predictions on their way into DuckDB: checked, and their probabilities as whole numbers.

What DuckDB adds up are whole numbers, so that sums are the same in any order. Sums of floats are not, and a group whose
states were spilled to the disk is put together in another order than one that was not.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from stonkgs.aggregate.columns import Layout
from stonkgs.aggregate.predictions import Predictions
from stonkgs.aggregate.read import FORMATS, reading
from stonkgs.errors import UserError
from stonkgs.tables.types import is_text

#: One in the whole numbers that are added up. A float32 of 1e-9 and more is a whole number of them.
UNIT: Final = 2.0**57
#: Stands for the logarithm of 0: 1 - exp(-40) is 1 in doubles. 40 UNIT is within an int64.
LEAST_LOG: Final = -40.0
#: How far the probabilities of a row may be from 1 in sum where a row is of one class, by rounding.
SLACK: Final = 1e-5
#: What a class has in a row.
_CLASS: Final = {"log": pa.int64(), "unit": pa.int64(), "p": pa.float64()}

Doubles = npt.NDArray[np.float64]


class Evidences:
    """All rows that have their keys, in batches of the columns that `schema` tells. Counts what goes by."""

    def __init__(self, predictions: Predictions, layout: Layout) -> None:
        self.predictions = predictions
        self.layout = layout
        #: rows read; those among them without a key, which are left out
        self.rows = self.without_key = 0
        #: the farthest that a row's probabilities are from 1 in sum
        self.off = 0.0
        #: what has ended the reading; DuckDB passes on no more than its text
        self.failure: BaseException | None = None

    @property
    def schema(self) -> pa.Schema:
        """Keys `k0`, `k1`, ...; of class 0 `log0`, ln(1 - p), `unit0`, p, both in UNITs, and `p0`; passed `c0`, ...

        What tells evidences apart, where anything does, is `e`; of rows without it `r`, their number, which else is 0.
        """
        numbers = range(len(self.layout.labels))
        classes = [(f"{name}{n}", type_) for n in numbers for name, type_ in _CLASS.items()]
        keys, passed = (
            [(f"{name}{n}", column.enter(pa.nulls(0, column.field.type)).type) for n, column in enumerate(columns)]
            for name, columns in (("k", self.layout.keys), ("c", self.layout.passed))
        )
        evidence = [("e", self.layout.evidence.field.type), ("r", pa.int64())] if self.layout.evidence else []
        return pa.schema([*keys, *classes, *passed, *evidence])

    def reader(self) -> pa.RecordBatchReader:
        """The batches as a stream, once."""
        return pa.RecordBatchReader.from_batches(self.schema, self._guarded())

    @property
    def multi_label(self) -> bool:
        """Whether a row may be of several classes: by run.json, or when all rows were read, by their sums."""
        told = self.predictions.multi_label
        return self.off > SLACK if told is None else bool(told)

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches()
        except BaseException as error:
            self.failure = error
            raise

    def _batches(self) -> Iterator[pa.RecordBatch]:
        read = FORMATS[self.predictions.kind].batches
        with tqdm(total=self.predictions.rows, unit=" rows", disable=None, leave=False) as bar:
            for file in self.predictions.files:
                batches, first = read(file, self.layout.wanted), self.rows
                while (batch := self._next(file, batches, first)) is not None:
                    bar.update(self.rows - bar.n)
                    yield batch
        self._check_all()

    def _next(self, file: Path, batches: Iterator[pa.RecordBatch], first: int) -> pa.RecordBatch | None:
        """The next batch of a file before which there were `first` rows."""
        with reading(file, f"after row {self.rows - first:,}"):
            batch = next(batches, None)
            if batch is None:
                return None
            layout, read = self.layout, iter(batch.columns)
            keys = [column.enter(next(read)) for column in layout.keys]
            probabilities = self._probabilities(
                file, [column.enter(next(read)) for column in layout.probabilities], first
            )
            passed = [column.enter(next(read)) for column in layout.passed]
            evidence = self._evidence(layout.evidence.enter(next(read))) if layout.evidence else []
        columns = [*keys, *map(pa.array, _numbers(probabilities)), *passed, *evidence]
        entered = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        kept = entered.filter(reduce(pc.and_, (column.is_valid() for column in keys)))
        self.rows += len(batch)
        self.without_key += len(batch) - len(kept)
        return kept

    def _evidence(self, column: pa.Array) -> list[pa.Array]:
        """`e` and `r` of a batch."""
        numbers = pa.array(np.arange(self.rows + 1, self.rows + 1 + len(column)))
        nothing = "" if is_text(column.type) else 0
        return [column.fill_null(nothing), pc.if_else(column.is_valid(), 0, numbers)]

    def _probabilities(self, file: Path, columns: Sequence[pa.Array], first: int) -> Doubles:
        """Those of a batch, [rows, classes]."""
        found = np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
        sound = ((found >= 0) & (found <= 1)).all(axis=1)  # NaN, which a null is too, is neither
        if not sound.all():
            row = int(np.argmin(sound))
            raise UserError(
                f"{file}: row {self.rows - first + row + 1:,}: {found[row].tolist()} are no probabilities of "
                f"{', '.join(self.predictions.classes.values())}, which are from 0 to 1"
            )
        self.off = max(self.off, float(np.abs(found.sum(axis=1) - 1).max(initial=0.0)))
        return found

    def _check_all(self) -> None:
        path, told = self.predictions.path, self.predictions.rows
        if told is not None and told != self.rows:
            raise UserError(
                f"{path}: holds {self.rows:,} rows, and run.json tells of {told:,}; it was changed or cut short, "
                "predict again"
            )
        if self.rows and self.without_key == self.rows:
            raise UserError(f"{path}: none of {self.rows:,} rows has {self.layout.key}; choose others with --by")


def _numbers(probabilities: Doubles) -> Iterator[npt.NDArray[Any]]:
    """What `_CLASS` names, of each class in turn."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log1p(-probabilities), LEAST_LOG)
    for log, probability in zip(logs.T, probabilities.T, strict=True):
        yield np.rint(log * UNIT).astype(np.int64)
        yield np.rint(probability * UNIT).astype(np.int64)
        yield probability
