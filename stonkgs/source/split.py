"""Splits of the input, and which process reads which. Processes do not talk: each looks at the disk alone."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: The most bytes of a split, whatever split.rows says: the writer holds a split in memory.
SPLIT_BYTES = 16 << 20
#: The most records of a split, as a multiple of split.rows, which is turned into bytes by the first records of a file:
#: those further on may be much shorter.
MOST = 2
#: Records of a split by default.
ROWS = 2_048
#: A stop beyond every file's end.
END = sys.maxsize


class Split(NamedTuple):
    """The records of one file that start in [start, stop). Splits are read and committed as a whole.

    The unit is bytes of the decompressed text, or rows of Parquet.
    """

    number: int
    file: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Plan(Sequence[Split]):
    """The list of all splits, and the input's columns. It depends on the input and split.rows alone.

    Three arrays hold it in 24 bytes per split: 100 GB are over a million splits, and every worker has the plan.
    """

    files: tuple[str, ...]
    #: The input's columns in their order, with types.
    schema: pa.Schema
    #: For each split the index of its file, its start and its stop: [splits] each.
    file: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    #: Number of all records, where it is known without reading them.
    rows: int | None = None

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, number: int) -> Split:  # type: ignore[override]  # a plan is never sliced
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Split(number, self.files[self.file[number]], int(self.start[number]), int(self.stop[number]))


class Committed(Protocol):
    """Says which splits are on the disk, whichever process has predicted them. The reading process asks it."""

    def __contains__(self, number: int) -> bool:
        """Returns whether this split is there now."""

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        """Returns which of the first `count` splits are there, bool [count], from one listing of the folder."""


def deal(count: int, *, rank: int, world: int, worker: int, workers: int) -> Iterator[int]:
    """Yields the numbers of the splits in one worker's share, in rising order.

    Splits are dealt round robin to `world` processes of `workers` workers each. So they are finished in about the
    input's order, and each worker reads a compressed file, which cannot be seeked, from start to end once.
    """
    return iter(range(worker * world + rank, count, world * workers))


def reading_order(
    count: int, *, rank: int, world: int, worker: int, workers: int, committed: Committed | None = None
) -> Iterator[int]:
    """Yields the numbers of the splits that one worker reads: its own share, then what others have not committed.

    A process that has finished its share helps the others, and does the work of those that have died. It cuts what is
    left into stretches. The first stretch is left to its owners; each helper takes another one, counted from the end,
    and then looks at the disk again. A stretch is read in rising order, because a compressed file is read from its
    start. Two processes may do the same split, which is harmless: they write the same bytes. Two workers of one process
    never do: each takes every `workers`th split of the others. Without `committed` only the own share is read.
    """
    if committed is None:
        yield from deal(count, rank=rank, world=world, worker=worker, workers=workers)
        return
    listed = committed.listed(count)
    for number in deal(count, rank=rank, world=world, worker=worker, workers=workers):
        if not listed[number] and number not in committed:
            yield number
    numbers = np.arange(count if world > 1 else 0)
    others = (numbers % world != rank) & (numbers // world % workers == worker)
    while len(left := np.flatnonzero(others & ~committed.listed(len(numbers)))):
        for number in _stretch(left, rank, world).tolist():
            others[number] = False  # not twice: its commit may come later
            if number not in committed:
                yield number


def _stretch(left: npt.NDArray[np.int64], rank: int, world: int) -> npt.NDArray[np.int64]:
    stretches = np.array_split(left, min(world + 1, 9, len(left)))  # more stretches mean more listings of the folder
    return stretches[-1 - rank % max(len(stretches) - 1, 1)]


def ranges(start: int, stop: int, step: int) -> npt.NDArray[np.int64]:
    """Returns ranges [splits, 2] that cut [start, stop) into pieces of `step`; one empty piece if it is empty."""
    starts = np.arange(start, max(stop, start + 1), step, dtype=np.int64)
    return np.stack([starts, np.append(starts[1:], stop)], axis=1)
