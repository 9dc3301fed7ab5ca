"""Reads the rows of predictions, checks them, and converts them for sorting with DuckDB."""

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

#: Rounding may move the sum of a single-label row's probabilities this far from 1.
SLACK: Final = 1e-5


class Evidences:
    """Iterates over all rows that have their keys, in batches with the columns of `schema`, and counts the rows.

    Raises UserError if a file is damaged, or a value is no probability.
    """

    def __init__(self, predictions: Predictions, layout: Layout) -> None:
        self.predictions = predictions
        self.layout = layout
        #: rows read so far; how many of them lack a key and are left out
        self.rows = self.without_key = 0
        self._state = predictions.state()
        #: the largest distance from 1 of the sum of a row's probabilities
        self.deviation = 0.0
        empty = [(column.field, column.to_sortable(pa.nulls(0, column.field.type))) for column in layout.columns]
        #: the layout's columns with the types that are sorted
        self.schema = pa.schema([(field.name, array.type) for field, array in empty])

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several classes: as run.json says, else (once all rows are read) as the sums show."""
        recorded = self.predictions.multi_label
        return self.deviation > SLACK if recorded is None else bool(recorded)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with tqdm(total=self.predictions.rows, unit=" rows", disable=None, leave=False) as bar:
            for file in self.predictions.files:
                batches, first = self.predictions.format.batches(file, self.layout.wanted), self.rows
                while (batch := self._next(file, batches, first)) is not None:
                    bar.update(self.rows - bar.n)
                    yield batch
        self._check_all()

    def _next(self, file: Path, batches: Iterator[pa.RecordBatch], first: int) -> pa.RecordBatch | None:
        """Returns the next batch of a file, None at its end. `first` rows were read before this file."""
        layout = self.layout
        with reading(file, f"after row {self.rows - first:,}"):
            batch = next(batches, None)
            if batch is None:
                return None
            columns = [column.to_sortable(read) for column, read in zip(layout.columns, batch.columns, strict=True)]
            self._check(file, columns[layout.probability_slice], first)
        sortable = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        kept = sortable.filter(reduce(pc.and_, (column.is_valid() for column in columns[: len(layout.keys)])))
        self.rows += len(batch)
        self.without_key += len(batch) - len(kept)
        return kept

    def _check(self, file: Path, columns: Sequence[pa.Array], first: int) -> None:
        """Raises UserError if a value of a batch is no probability."""
        found = probabilities(columns)
        sound = ((found >= 0) & (found <= 1)).all(axis=0)  # false for NaN, which is also what null becomes
        if not sound.all():
            row = int(np.argmin(sound))
            raise UserError(
                f"{file}: row {self.rows - first + row + 1:,}: {found[:, row].tolist()} are no probabilities of "
                f"{', '.join(self.predictions.classes.values())}, which are from 0 to 1"
            )
        self.deviation = max(self.deviation, float(np.abs(found.sum(axis=0) - 1).max(initial=0.0)))

    def _check_all(self) -> None:
        """Raises UserError if rows are missing, all rows lack a key, or a file was changed while it was read."""
        path, recorded = self.predictions.path, self.predictions.rows
        with reading(path, "what it is like now"):
            changed = self.predictions.state() != self._state
        if changed:
            raise UserError(f"{path}: was changed while it was read; nothing was written, give the command again")
        if recorded is not None and recorded != self.rows:
            raise UserError(
                f"{path}: holds {self.rows:,} rows, and run.json tells of {recorded:,}; it was changed or cut short, "
                "predict again"
            )
        if self.rows and self.without_key == self.rows:
            raise UserError(f"{path}: none of {self.rows:,} rows has {self.layout.key}; choose others with --by")


def probabilities(columns: Sequence[pa.Array]) -> npt.NDArray[np.float64]:
    """Returns columns of probabilities as one array, [classes, rows]."""
    return np.stack([column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False) for column in columns])
