"""Reduces sorted rows: neighbouring rows with equal keys form a group, which becomes one entry."""

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
class Groups:
    """N entries in sorted order. Neighbours with equal keys belong to one group, which `reduced` makes one entry."""

    #: the keys, [N] each; null equals nothing
    keys: tuple[pa.Array, ...]
    #: values that are added up within a group, [A, N]
    added: Doubles
    #: values of which the largest in a group is kept, [K, N]
    largest: Doubles
    #: columns of which the smallest value in a group is kept, nulls last; [N] each
    smallest: tuple[pa.Array, ...]
    #: whether the first two of `smallest` are compared as one value, a pair
    pair: bool = False

    def __len__(self) -> int:
        return int(self.added.shape[1])

    def slice(self, start: int, stop: int) -> Self:
        """Returns some of the entries."""
        cut = slice(start, stop)
        keys, smallest = (tuple(column[cut] for column in columns) for columns in (self.keys, self.smallest))
        return type(self)(keys, self.added[:, cut], self.largest[:, cut], smallest, self.pair)

    def followed_by(self, other: Self) -> Self:
        """Returns these entries and then the other ones."""
        keys, smallest = (
            tuple(pa.concat_arrays(pair) for pair in zip(*columns, strict=True))
            for columns in ((self.keys, other.keys), (self.smallest, other.smallest))
        )
        added, largest = np.hstack([self.added, other.added]), np.hstack([self.largest, other.largest])
        return type(self)(keys, added, largest, smallest, self.pair)

    def reduced(self) -> Self:
        """Returns one entry for each group."""
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
        """Returns the columns of `smallest`; those that are compared as one value are together."""
        pairs = [self.smallest[:2]] if self.pair else []
        return [*pairs, *((column,) for column in self.smallest[2 * self.pair :])]


def merge_groups(stream: Iterable[Groups]) -> Iterator[Groups]:
    """Yields one entry for each group of a sorted stream. A group may span any number of pieces of the stream."""
    last = None  # its group may continue in the next piece
    for piece in stream:
        groups = piece.reduced()
        groups = last.followed_by(groups).reduced() if last else groups
        if len(groups) > 1:
            yield groups.slice(0, len(groups) - 1)
        last = groups.slice(len(groups) - 1, len(groups))
    if last:
        yield last


def _starts(keys: Sequence[pa.Array]) -> Numbers:
    """Returns the positions of rows whose keys differ from those of the row before."""
    differs = np.zeros(len(keys[0]) - 1, np.bool_)
    for key in keys:
        differs |= pc.not_equal(key[1:], key[:-1]).fill_null(True).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[True], differs]))


def _smallest(columns: Sequence[pa.Array], starts: Numbers) -> Numbers:
    """Returns the position of each group's smallest row. `columns` are compared as one value, nulls last."""
    if np.isin(_starts(columns), starts, assume_unique=True).all():  # all groups are constant, which is usual
        return starts
    count = len(columns[0])
    order = np.zeros(count, np.int64)
    for column in columns:
        encoded = column.dictionary_encode()
        ranks = np.append(pc.rank(encoded.dictionary).to_numpy().astype(np.int64), len(encoded.dictionary) + 1)
        order = order * (len(ranks) + 1) + ranks[encoded.indices.fill_null(len(ranks) - 1).to_numpy()]
    return np.minimum.reduceat(order * count + np.arange(count), starts) % count
