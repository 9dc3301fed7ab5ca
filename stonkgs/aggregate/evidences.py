"""Reads the rows of predictions for the sort: checks them, and makes columns of types that DuckDB sorts."""

from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from stonkgs.aggregate.columns import Layout
from stonkgs.aggregate.predictions import Predictions
from stonkgs.errors import UserError
from stonkgs.tables.damage import reading

#: Rounding may move the sum of a row's probabilities so far from 1, where the row is of one class.
SLACK: Final = 1e-5


class Evidences:
    """All rows that have their keys, in batches of the columns that `schema` tells. Counts the rows as they go by."""

    def __init__(self, predictions: Predictions, layout: Layout) -> None:
        self.predictions = predictions
        self.layout = layout
        #: rows read; those among them without a key, which are left out
        self.rows = self.without_key = 0
        #: the farthest that a row's probabilities are from 1 in sum
        self.off = 0.0

    @property
    def schema(self) -> pa.Schema:
        """The layout's columns, as they are sorted."""
        columns = self.layout.columns
        return pa.schema([(column.field.name, column.enter(pa.nulls(0, column.field.type)).type) for column in columns])

    @property
    def multi_label(self) -> bool:
        """Whether a row may be of several classes: by run.json, or when all rows were read, by their sums."""
        told = self.predictions.multi_label
        return self.off > SLACK if told is None else bool(told)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with tqdm(total=self.predictions.rows, unit=" rows", disable=None, leave=False) as bar:
            for file in self.predictions.files:
                batches, first = self.predictions.format.batches(file, self.layout.wanted), self.rows
                while (batch := self._next(file, batches, first)) is not None:
                    bar.update(self.rows - bar.n)
                    yield batch
        self._check_all()

    def _next(self, file: Path, batches: Iterator[pa.RecordBatch], first: int) -> pa.RecordBatch | None:
        """The next batch of a file before which there were `first` rows."""
        layout = self.layout
        with reading(file, f"after row {self.rows - first:,}"):
            batch = next(batches, None)
            if batch is None:
                return None
            columns = [column.enter(read) for column, read in zip(layout.columns, batch.columns, strict=True)]
            self._check(file, columns[layout.probable], first)
        entered = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        kept = entered.filter(reduce(pc.and_, (column.is_valid() for column in columns[: len(layout.keys)])))
        self.rows += len(batch)
        self.without_key += len(batch) - len(kept)
        return kept

    def _check(self, file: Path, columns: Sequence[pa.Array], first: int) -> None:
        """UserError where a value of a batch is no probability."""
        found = probabilities(columns)
        sound = ((found >= 0) & (found <= 1)).all(axis=0)  # NaN, which a null is too, is neither
        if not sound.all():
            row = int(np.argmin(sound))
            raise UserError(
                f"{file}: row {self.rows - first + row + 1:,}: {found[:, row].tolist()} are no probabilities of "
                f"{', '.join(self.predictions.classes.values())}, which are from 0 to 1"
            )
        self.off = max(self.off, float(np.abs(found.sum(axis=0) - 1).max(initial=0.0)))

    def _check_all(self) -> None:
        path, told = self.predictions.path, self.predictions.rows
        if told is not None and told != self.rows:
            raise UserError(
                f"{path}: holds {self.rows:,} rows, and run.json tells of {told:,}; it was changed or cut short, "
                "predict again"
            )
        if self.rows and self.without_key == self.rows:
            raise UserError(f"{path}: none of {self.rows:,} rows has {self.layout.key}; choose others with --by")


def probabilities(columns: Sequence[pa.Array]) -> npt.NDArray[np.float64]:
    """Those of a batch, [classes, rows]."""
    return np.stack([column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False) for column in columns])
