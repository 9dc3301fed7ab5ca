"""Splits, and who reads which: every process works it out by itself, and asks nobody but the disk."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: No split is larger than this many bytes, whatever split.rows asks for: a split is held in memory by the writer.
SPLIT_BYTES = 16 << 20
#: Records of a split where nobody asks for another number.
ROWS = 2_048
#: A stop beyond every file's end.
END = sys.maxsize


class Split(NamedTuple):
    """A stretch of one file, the unit of reading and committing: the records that start in [start, stop).

    Text is counted in bytes (of the decompressed stream), Parquet in rows.
    """

    number: int
    file: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Plan(Sequence[Split]):
    """The full list of splits and the columns of every file: a function of the input and split.rows alone.

    Kept as three arrays, 24 bytes a split: a 100 GB file has over a million of them, and every worker holds the plan.
    """

    files: tuple[str, ...]
    #: The input's columns in their order, with types.
    schema: pa.Schema
    file: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    #: Records in all, where the format knows without reading them.
    rows: int | None = None

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, number: int) -> Split:  # type: ignore[override]  # a plan is never sliced
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Split(number, self.files[self.file[number]], int(self.start[number]), int(self.stop[number]))


class Committed(Protocol):
    """Which splits are on disk already, whoever has predicted them. Asked in the process that reads."""

    def __contains__(self, number: int) -> bool:
        """Whether this one is, now."""

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        """Which of the first `count` are: bool [count], by one look at the folder."""


def deal(count: int, *, rank: int, world: int, worker: int, workers: int) -> Iterator[int]:
    """Numbers, in rising order, of the splits that are one DataLoader worker's share in one process of several.

    Round robin over the full list: neighbours go to different processes and workers, so that parts are finished in
    about the input's order, and each worker passes once through a file that cannot be seeked.
    """
    return iter(range(worker * world + rank, count, world * workers))


def turns(
    count: int, *, rank: int, world: int, worker: int, workers: int, committed: Committed | None = None
) -> Iterator[int]:
    """The splits that one worker reads, and when: first its share, then what others have not committed.

    A process that is through helps the others, and so does the work of one that has died. What is left is cut into
    stretches, of which the first is left to those who are at it and each helper takes another, counted from the end;
    then it looks again. A stretch is read in rising order: a file that cannot be seeked is passed through once a
    stretch. Two processes may still do one split: both write the same, and the second is not even noticed. Two workers
    of a process never do: each helps with every `workers`th split of the others. Where nothing is known of what is
    committed, each process reads its share alone.
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
            others[number] = False  # once is enough: what this worker has read may take a while to be committed
            if number not in committed:
                yield number


def _stretch(left: npt.NDArray[np.int64], rank: int, world: int) -> npt.NDArray[np.int64]:
    stretches = np.array_split(left, min(world + 1, 9, len(left)))  # the more, the more often the folder is looked at
    return stretches[-1 - rank % max(len(stretches) - 1, 1)]


def ranges(start: int, stop: int, step: int) -> npt.NDArray[np.int64]:
    """Ranges [splits, 2] that cut [start, stop) into pieces of `step`; an empty one is one empty piece."""
    starts = np.arange(start, max(stop, start + 1), step, dtype=np.int64)
    return np.stack([starts, np.append(starts[1:], stop)], axis=1)
