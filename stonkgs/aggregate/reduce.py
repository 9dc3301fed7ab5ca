"""Reduces sorted rows: rows that agree in their keys are a run, of which one entry is left."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """N runs of sorted rows, one behind the other. A row is a run of one."""

    #: [N] each; rows agree in all of them, but null agrees with nothing
    keys: tuple[pa.Array, ...]
    #: [A, N], what is added up within a run
    added: Doubles
    #: [K, N], of which the largest of a run is kept
    largest: Doubles
    #: [N] each, of which the smallest of a run is kept, nulls last
    smallest: tuple[pa.Array, ...]
    #: whether the first two of `smallest` are one value, a pair
    pair: bool = False

    def __len__(self) -> int:
        return int(self.added.shape[1])

    def slice(self, start: int, stop: int) -> Self:
        """Returns some of the runs."""
        cut = slice(start, stop)
        keys, smallest = (tuple(column[cut] for column in columns) for columns in (self.keys, self.smallest))
        return type(self)(keys, self.added[:, cut], self.largest[:, cut], smallest, self.pair)

    def followed_by(self, other: Self) -> Self:
        """Returns these runs and the other ones behind them."""
        keys, smallest = (
            tuple(pa.concat_arrays(pair) for pair in zip(*columns, strict=True))
            for columns in ((self.keys, other.keys), (self.smallest, other.smallest))
        )
        added, largest = np.hstack([self.added, other.added]), np.hstack([self.largest, other.largest])
        return type(self)(keys, added, largest, smallest, self.pair)

    def reduced(self) -> Self:
        """Returns one entry for all neighbours that agree in their keys."""
        starts = _starts(self.keys)
        if len(starts) == len(self):
            return self
        least: list[pa.Array] = []
        for value in self._values():
            rows = pa.array(_smallest(value, starts))
            least += [column.take(rows) for column in value]
        return type(self)(
            tuple(key.take(pa.array(starts)) for key in self.keys),
            np.add.reduceat(self.added, starts, axis=1),
            np.maximum.reduceat(self.largest, starts, axis=1),
            tuple(least),
            self.pair,
        )

    def _values(self) -> list[tuple[pa.Array, ...]]:
        """The columns of `smallest`, those that are one value together."""
        pairs = [self.smallest[:2]] if self.pair else []
        return [*pairs, *((column,) for column in self.smallest[2 * self.pair :])]


def one_each(stream: Iterable[Runs]) -> Iterator[Runs]:
    """Yields one entry for each run of a sorted stream, however many pieces of the stream a run is spread over."""
    last = None  # the next piece may go on with it
    for piece in stream:
        runs = piece.reduced()
        runs = last.followed_by(runs).reduced() if last else runs
        if len(runs) > 1:
            yield runs.slice(0, len(runs) - 1)
        last = runs.slice(len(runs) - 1, len(runs))
    if last:
        yield last


def _starts(keys: Sequence[pa.Array]) -> Numbers:
    """Returns the numbers of the rows that differ from the row before them in a key."""
    differs = np.zeros(len(keys[0]) - 1, np.bool_)
    for key in keys:
        differs |= pc.not_equal(key[1:], key[:-1]).fill_null(True).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[True], differs]))


def _smallest(columns: Sequence[pa.Array], starts: Numbers) -> Numbers:
    """Returns the number of each run's smallest row: `columns` are compared as one value, nulls last."""
    if np.isin(_starts(columns), starts, assume_unique=True).all():  # constant within runs, which is the usual case
        return starts
    count = len(columns[0])
    order = np.zeros(count, np.int64)
    for column in columns:
        encoded = column.dictionary_encode()
        ranks = np.append(pc.rank(encoded.dictionary).to_numpy().astype(np.int64), len(encoded.dictionary) + 1)
        order = order * (len(ranks) + 1) + ranks[encoded.indices.fill_null(len(ranks) - 1).to_numpy()]
    return np.minimum.reduceat(order * count + np.arange(count), starts) % count
