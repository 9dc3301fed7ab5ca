"""The training part as a stream of steps: shuffled, dealt, encoded. Its order is a function of seed and epoch alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from random import Random

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset, get_worker_info

from stonkgs.batch import Batch, collate
from stonkgs.encode.encoder import Encoder
from stonkgs.source.base import Reader
from stonkgs.source.split import Split
from stonkgs.statement import Statement
from stonkgs.train.protocol import TRAIN
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import Labelled, Selection, Target, numbers

#: Steps whose rows are sorted by length together.
POOL = 16


@dataclass(slots=True)
class Step:
    """What one process does in one step: B of the rows that all processes take together."""

    #: counted from 0 over all epochs
    number: int
    batch: Batch
    #: int64 [B], or of a multi-label task float32 [B, K]
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    #: the sum of the weights of all processes' rows: what the summed loss is divided by
    weight: float


class Stream(IterableDataset[Step]):
    """Steps [start, stop) of an epoch, as one of `schedule.world` processes takes them.

    Every worker of every process reads all rows in the same order and encodes its own: reading costs little beside a
    step of the network, and so nothing has to be agreed on, all make the same steps, and steps that are done already
    are passed over without encoding. Rows wait in a shuffle buffer of `buffer` of them, without their other columns.
    """

    def __init__(
        self,
        *,
        selection: Selection,
        encoder: Encoder,
        schedule: Schedule,
        weights: npt.NDArray[np.float64] | None,
        buffer: int,
        epoch: int,
        start: int,
        stop: int,
        rank: int,
    ) -> None:
        self.selection = selection
        self.encoder = encoder
        self.schedule = schedule
        #: of the classes, float64 [K]; None: all 1
        self.weights = weights
        self.buffer = buffer
        self.epoch = epoch
        self.start = start
        self.stop = stop
        self.rank = rank

    def __iter__(self) -> Iterator[Step]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        for number, rows in enumerate(islice(self.taken(), self.stop)):
            # The DataLoader asks its workers in turns, so that the steps come in order.
            if number >= self.start and (number - self.start) % workers == worker:
                yield self._step(number, rows)

    def taken(self) -> Iterator[Sequence[Labelled]]:
        """The rows of each step of the epoch, of all processes.

        The rows of POOL steps are sorted by length before they are cut into steps, and then the steps are shuffled: a
        step of any lengths is padded to its longest text, which is about twice their mean.
        """
        rows, random = self.rows(), Random(f"{self.schedule.seed}/{self.epoch}/pools")
        for first in range(0, self.schedule.steps, POOL):
            places = range(first, min(first + POOL, self.schedule.steps))
            sizes = [stop - start for start, stop in (self.schedule.bounds(self.epoch, place) for place in places)]
            pool = sorted(islice(rows, sum(sizes)), key=lambda row: len(row.statement.evidence))
            steps = [pool[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
            random.shuffle(steps)
            yield from steps

    def rows(self) -> Iterator[Labelled]:
        """The epoch's rows in the order in which they are trained with."""
        random = Random(f"{self.schedule.seed}/{self.epoch}")
        splits = split_order(self.selection.reader, random)
        return shuffled(self._copied(self._read(splits)), self.buffer, random)

    def _read(self, splits: Iterable[Split]) -> Iterator[Labelled]:
        for split in splits:
            for number, statement, target in self.selection.rows(split, TRAIN):
                bare = Statement(statement.source, statement.target, statement.evidence)
                yield Labelled(number, bare, target)

    def _copied(self, rows: Iterable[Labelled]) -> Iterator[Labelled]:
        """Each row as often as a balanced epoch has it: systematic sampling, which keeps to the number in all."""
        if not self.schedule.balanced:
            yield from rows
            return
        each, reached = self.schedule.copies().tolist(), self.schedule.offsets(self.epoch)
        seen = [0] * len(each)
        for row in rows:
            assert isinstance(row.target, int)
            seen[row.target] += 1
            now = seen[row.target] * each[row.target] + reached[row.target]
            before = (seen[row.target] - 1) * each[row.target] + reached[row.target]
            yield from [row] * (int(now) - int(before))

    def _step(self, number: int, rows: Sequence[Labelled]) -> Step:
        mine = rows[self.rank :: self.schedule.world]
        examples = self.encoder([row.statement for row in mine])
        return Step(
            number=self.epoch * self.schedule.steps + number,
            batch=collate(list(enumerate(examples))),
            targets=self._targets([row.target for row in mine]),
            weight=self._weight([row.target for row in rows]),
        )

    def _targets(self, targets: Sequence[Target]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        classes = self.selection.classes
        if not classes.multi_label:
            return np.array(targets, np.int64)
        hot = np.zeros((len(targets), len(classes.labels)), np.float32)
        for row, target in zip(hot, targets, strict=True):
            row[list(numbers(target))] = 1
        return hot

    def _weight(self, targets: Sequence[Target]) -> float:
        """As torch's cross-entropy means it: by the rows' weights; of a multi-label loss by rows and classes."""
        classes = self.selection.classes
        if classes.multi_label:
            return float(len(targets) * len(classes.labels))
        return float(len(targets)) if self.weights is None else float(self.weights[list(targets)].sum())


def split_order(reader: Reader, random: Random) -> Iterator[Split]:
    """All splits in a random order; those of a file that cannot be seeked together, and in theirs."""
    plan = reader.plan
    units: list[list[int]] = []
    for file, grouped in groupby(range(len(plan)), key=lambda number: plan.files[plan.file[number]]):
        splits = list(grouped)
        units += [[split] for split in splits] if reader.source.seekable(file) else [splits]
    random.shuffle(units)
    return (plan[number] for unit in units for number in unit)


def shuffled(rows: Iterable[Labelled], size: int, random: Random) -> Iterator[Labelled]:
    """Each row gives way to another one of `size` that are held; where there are no more of them, to all orders."""
    held: list[Labelled] = []
    for row in rows:
        if len(held) < size:
            held.append(row)
            continue
        place = random.randrange(size)
        yield held[place]
        held[place] = row
    random.shuffle(held)
    yield from held
