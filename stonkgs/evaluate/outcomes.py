"""Holds the predictions of labelled rows beside the truth, and reads them from Parquet."""

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
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stonkgs.errors import UserError
from stonkgs.model.decision import CLASS_SEPARATOR, THRESHOLD, predicted_classes, probabilities
from stonkgs.source.parquet import open_parquet, parquet_errors

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Rows that are decoded at a time.
BATCH_ROWS = 8192
#: How far above 1 a probability may be, by rounding in the softmax.
SLACK = 1e-3
#: The smallest normal float32. It replaces a probability of 0, which has no logarithm.
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The predictions and the true classes of N labelled rows, for K classes.

    Raises ValueError if shapes do not fit, and UserError if a probability is no number from 0 to 1.
    """

    labels: tuple[str, ...]
    #: float32 [N, K]
    probabilities: Floats
    #: the true classes: int64 [N], or in a multi-label task bool [N, K]
    targets: Ints | Bools
    #: what the probabilities were made of, float [N, K]; None: not known, so they are taken back from the probabilities
    exact_logits: npt.NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        rows, classes = shape = self.probabilities.shape
        if classes != len(self.labels) or self.targets.shape not in {(rows,), shape}:
            raise ValueError(f"{len(self.labels)} labels, {shape} probabilities and {self.targets.shape} targets")
        if self.exact_logits is not None and self.exact_logits.shape != shape:
            raise ValueError(f"{shape} probabilities and {self.exact_logits.shape} logits")
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
        """The predicted classes: the most probable one, the first of equals, int64 [N]; or in a multi-label task those
        with a probability of THRESHOLD or more, bool [N, K].
        """
        return self.probabilities >= THRESHOLD if self.multi_label else self.probabilities.argmax(axis=1)

    @property
    def decisions(self) -> Bools:
        """Whether each class is predicted, bool [N, K]."""
        return predicted_classes(self.probabilities, multi_label=self.multi_label)

    @property
    def true(self) -> Bools:
        """Whether each class is true, bool [N, K]."""
        if self.multi_label:
            return self.targets.astype(np.bool_)
        true: Bools = self.targets[:, None] == np.arange(len(self.labels))
        return true

    @property
    def logits(self) -> torch.Tensor:
        """The logits, float64 [N, K]: the exact ones, or log p, in a multi-label task log p - log(1 - p), p >= TINY.

        With a single label the latter differ from the network's by a constant for each row, which does not change a
        softmax. In a multi-label task they are wrong above 16.6, where 1 - p is 0 in float32.
        """
        if self.exact_logits is not None:
            return torch.from_numpy(self.exact_logits).double()
        probabilities = torch.from_numpy(self.probabilities).double()
        positive = probabilities.clamp_min(TINY).log()
        return positive - (1 - probabilities).clamp_min(TINY).log() if self.multi_label else positive

    @property
    def losses(self) -> torch.Tensor:
        """The negative log-likelihood of each row [N], or in a multi-label task of each row and class [N, K], float64.

        In nats. Without exact logits a probability of 0 counts as TINY.
        """
        if self.exact_logits is not None:
            if self.multi_label:
                true = torch.from_numpy(self.true).double()
                return binary_cross_entropy_with_logits(self.logits, true, reduction="none")
            return cross_entropy(self.logits, torch.from_numpy(self.targets), reduction="none")
        probabilities, hit = torch.from_numpy(self.probabilities.clip(0, 1)).double(), torch.from_numpy(self.true)
        of_truth = torch.where(hit, probabilities, 1 - probabilities) if self.multi_label else probabilities[hit]
        return -of_truth.clamp_min(TINY).log()

    def rows(self, chosen: Bools) -> Self:
        """Returns the chosen rows, bool [N]."""
        exact = None if self.exact_logits is None else self.exact_logits[chosen]
        return replace(self, probabilities=self.probabilities[chosen], targets=self.targets[chosen], exact_logits=exact)

    def calibrated(self, temperature: float) -> Self:
        """Returns the rows with the probabilities softmax(log p / T), or in a multi-label task sigmoid(logit(p) / T).

        This is temperature scaling (Guo et al. 2017). Predicted classes stay the same, unless two probabilities become
        equal in float32. `1 / temperature` reverses it. Raises ValueError if `temperature` is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"a temperature of {temperature}")
        scaled = self.logits / temperature
        rated = probabilities(scaled, multi_label=self.multi_label)
        exact = None if self.exact_logits is None else scaled.numpy()
        return replace(self, probabilities=rated.float().numpy(), exact_logits=exact)

    @classmethod
    def read(
        cls, path: Path, labels: Sequence[str], *, truth: str = "truth", multi_label: bool = False, prefix: str = ""
    ) -> Self:
        """Read a Parquet file with a column of probabilities for each label, called `prefix` + label, and the truth.

        The column `truth` has a class name, or in a multi-label task class names joined by `|`, empty for none. Raises
        UserError if a column is missing or occurs twice, a truth is no class, a probability is not from 0 to 1, or the
        file is damaged.
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
    """Read the rows into `probabilities` and `targets`, batch after batch."""
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
    """Returns the rows of a batch and the class of each, both int64 [M]; a row of several classes occurs several times.

    The batch begins at row `first` of the file, for messages.
    """
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
    """Returns the rows with each class's share of the training rows as its probability, the same for every row.

    `train_counts` is int [K], the training rows of each class; `rows` is the number of all training rows. The
    prediction is then the most frequent class, or in a multi-label task the classes that at least half of the rows
    have. Without training rows all classes are equally probable, or in a multi-label task all have the probability 0.
    """
    counts = np.asarray(train_counts, np.float64)
    if not rows:
        counts = np.full(len(counts), 0.0 if outcomes.multi_label else 1 / max(len(counts), 1))
    shares = (counts / max(rows, 1)).astype(np.float32)
    return replace(outcomes, probabilities=np.tile(shares, (len(outcomes), 1)), exact_logits=None)
