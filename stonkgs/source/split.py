"""Splits, and who reads which: decided by one pure function before any work is done."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: No split is larger than this many bytes, whatever split.rows asks for: a split is held in memory by the writer.
SPLIT_BYTES = 16 << 20
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


def deal(count: int, *, rank: int, world: int, worker: int, workers: int) -> Iterator[int]:
    """Numbers, in rising order, of the splits that one DataLoader worker of one process reads.

    Round robin over the full list: neighbours go to different workers, so that parts are finished in about the
    input's order, and each worker passes once through a file that cannot be seeked.
    """
    return iter(range(rank * workers + worker, count, world * workers))


def ranges(start: int, stop: int, step: int) -> npt.NDArray[np.int64]:
    """Ranges [splits, 2] that cut [start, stop) into pieces of `step`; an empty one is one empty piece."""
    starts = np.arange(start, max(stop, start + 1), step, dtype=np.int64)
    return np.stack([starts, np.append(starts[1:], stop)], axis=1)
