"""Predictions of labelled rows beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from stonkgs.errors import UserError
from stonkgs.model.decision import CLASS_SEPARATOR, THRESHOLD, predicted_classes
from stonkgs.source.parquet import open_parquet, parquet_errors

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Rows that are decoded at a time.
BATCH_ROWS = 8192
#: How far above 1 a rounded float32 softmax may come.
SLACK = 1e-3
#: A probability of 0 has no logarithm: the smallest normal float32 stands for it.
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What a model said of labelled rows, and what is true: N rows, K classes.

    Raises ValueError where shapes do not fit, and UserError where a probability is no number from 0 to 1.
    """

    labels: tuple[str, ...]
    #: float32 [N, K]
    probabilities: Floats
    #: int64 [N], each row's class, or for a multi-label task bool [N, K]
    targets: Ints | Bools

    def __post_init__(self) -> None:
        rows, classes = shape = self.probabilities.shape
        if classes != len(self.labels) or self.targets.shape not in {(rows,), shape}:
            raise ValueError(f"{len(self.labels)} labels, {shape} probabilities and {self.targets.shape} targets")
        sound = ((self.probabilities >= 0) & (self.probabilities <= 1 + SLACK)).all(axis=1)  # NaN is neither
        if not sound.all():
            row = int(np.argmin(sound))
            raise UserError(f"row {row + 1}: {self.probabilities[row]} are no probabilities; has training diverged?")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several classes, or none."""
        return self.targets.ndim == 2

    @property
    def predicted(self) -> Ints | Bools:
        """int64 [N], the most probable class (the first of equals), or bool [N, K], what is THRESHOLD and more."""
        return self.probabilities >= THRESHOLD if self.multi_label else self.probabilities.argmax(axis=1)

    @property
    def said(self) -> Bools:
        """`predicted` as a decision for each class, bool [N, K]."""
        return predicted_classes(self.probabilities, multi_label=self.multi_label)

    @property
    def true(self) -> Bools:
        """`targets` as a decision for each class, bool [N, K]."""
        if self.multi_label:
            return self.targets.astype(np.bool_)
        decisions: Bools = self.targets[:, None] == np.arange(len(self.labels))
        return decisions

    @property
    def logits(self) -> torch.Tensor:
        """float64 [N, K]: log p, or for a multi-label task log p - log(1 - p); logarithms of TINY at the least.

        For a single label these are the network's logits up to a constant for each row, which no softmax sees.
        """
        probabilities = torch.from_numpy(self.probabilities).double()
        positive = probabilities.clamp_min(TINY).log()
        return positive - (1 - probabilities).clamp_min(TINY).log() if self.multi_label else positive

    def calibrated(self, temperature: float) -> Self:
        """The same rows with softmax(log p / T), or sigmoid(logit(p) / T): temperature scaling (Guo et al. 2017).

        What is predicted stays, except where float32 makes two probabilities equal. `1 / temperature` undoes it. Raises
        ValueError where `temperature` is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"a temperature of {temperature}")
        scaled = self.logits / temperature
        probabilities = scaled.sigmoid() if self.multi_label else scaled.softmax(dim=1)
        return replace(self, probabilities=probabilities.float().numpy())

    @classmethod
    def read(
        cls, path: Path, labels: Sequence[str], *, truth: str = "truth", multi_label: bool = False, prefix: str = ""
    ) -> Self:
        """Read a Parquet file: for each label a column of probabilities called `prefix` + label, and a column `truth`.

        `truth` is a class name, or in a multi-label task class names joined by `|`, the empty text for none. Raises
        UserError where a column is absent or twice there, a truth is no class, a probability is none, or the file is
        damaged.
        """
        if multi_label and (odd := [label for label in labels if CLASS_SEPARATOR in label]):
            raise UserError(
                f"class {odd[0]!r}: {CLASS_SEPARATOR!r} separates the classes of a row, it cannot be part of one"
            )
        names = [prefix + label for label in labels]
        with open_parquet(str(path)) as parquet:
            _check_columns(path, parquet.schema_arrow, [*names, truth])
            probabilities = np.empty((parquet.metadata.num_rows, len(labels)), np.float32)
            targets = np.zeros(probabilities.shape if multi_label else len(probabilities), np.int64)
            _fill(path, parquet, names, truth, labels, probabilities, targets)
        try:
            return cls(tuple(labels), probabilities, targets.astype(np.bool_) if multi_label else targets)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def _check_columns(path: Path, schema: pa.Schema, names: Sequence[str]) -> None:
    for name in names:
        if (count := schema.names.count(name)) + names.count(name) != 2:
            raise UserError(f"{path}: needs one column {name!r}, has {count}; columns: {', '.join(schema.names)}")


def _fill(
    path: Path,
    parquet: pq.ParquetFile,
    names: Sequence[str],
    truth: str,
    labels: Sequence[str],
    probabilities: Floats,
    targets: Ints,
) -> None:
    """Read the rows into two arrays, batch after batch."""
    first = 0
    with parquet_errors(str(path)):
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[*names, truth], use_threads=False):
            stop = first + batch.num_rows
            for number, name in enumerate(names):
                column = batch.column(name).cast(pa.float32())
                probabilities[first:stop, number] = column.to_numpy(zero_copy_only=False)
            rows, classes = _classes(path, batch.column(truth).cast(pa.string()), labels, first, targets.ndim == 2)
            if targets.ndim == 2:
                targets[first + rows, classes] = 1
            else:
                targets[first + rows] = classes
            first = stop


def _classes(path: Path, truth: pa.Array, labels: Sequence[str], first: int, multi_label: bool) -> tuple[Ints, Ints]:
    """Rows of a batch whose first is row `first` of the file, and the class that each has: int64 [M], from 0."""
    rows, names = np.arange(len(truth)), truth
    if multi_label and not truth.null_count:
        split = pc.split_pattern(truth, CLASS_SEPARATOR)
        rows, names = pc.list_parent_indices(split).to_numpy(), pc.list_flatten(split)
        given = pc.not_equal(names, "")
        rows, names = rows[given.to_numpy(zero_copy_only=False)], names.filter(given)
    classes = pc.index_in(names, value_set=pa.array(labels, pa.string()))
    wrong = names.is_null() if names.null_count else classes.is_null()
    if classes.null_count:
        place = int(np.argmax(wrong.to_numpy(zero_copy_only=False)))
        value, row = names[place].as_py(), first + int(rows[place]) + 1
        raise UserError(f"{path}: row {row}: {value!r} is no class; classes: {', '.join(labels)}")
    return rows, classes.to_numpy().astype(np.int64)


def majority(outcomes: Outcomes, train_counts: npt.ArrayLike, rows: int) -> Outcomes:
    """The same rows, of each of which is said what is known without reading it: each class's share of training.

    `train_counts` is int [K], training rows of each class, `rows` the training rows. The prediction is then the most
    frequent class, or for a multi-label task those that at least half of the rows have. Without training rows all
    classes of a single label are equal, and those of a multi-label task absent.
    """
    counts = np.asarray(train_counts, np.float64)
    if not rows:
        counts = np.full(len(counts), 0.0 if outcomes.multi_label else 1 / max(len(counts), 1))
    shares = (counts / max(rows, 1)).astype(np.float32)
    return replace(outcomes, probabilities=np.tile(shares, (len(outcomes), 1)))
