"""Turns the training part into steps: shuffles, shares out and encodes rows in an order that seed and epoch decide."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from random import Random
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset, get_worker_info

from stonkgs.batch import Batch, collate
from stonkgs.encode.encoder import Encoder
from stonkgs.protocol import TRAIN
from stonkgs.source.base import Reader
from stonkgs.source.split import Split
from stonkgs.statement import Statement
from stonkgs.train.census import Census
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import LabelledRow, Selection, Target, class_numbers

#: Steps whose rows are sorted by length together.
POOL = 16


@dataclass(slots=True)
class Share:
    """One process' share of a step: B of the rows that all processes take together."""

    #: from 0, over all epochs
    number: int
    batch: Batch


S = TypeVar("S", bound=Share)


@dataclass(slots=True)
class Step(Share):
    """A share with the classes of its rows."""

    #: int64 [B], or in a multi-label task float32 [B, K]
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    #: the sum of the weights of all processes' rows, by which the sum of the losses is divided
    weight: float


class Steps(IterableDataset[S], ABC, Generic[S]):
    """Yields steps [start, stop) of an epoch, with the rows of process `rank` of `schedule.world` processes.

    Every worker of every process reads all rows in the same order and encodes only its own. Reading costs little
    beside the network, and so the processes need not communicate, and finished steps are skipped without encoding.
    A shuffle buffer holds `buffer` rows, without the columns that are not encoded.
    """

    def __init__(
        self,
        *,
        selection: Selection,
        schedule: Schedule,
        buffer: int,
        epoch: int,
        start: int,
        stop: int,
        rank: int,
        part: str = TRAIN,
    ) -> None:
        self.selection = selection
        self.schedule = schedule
        self.buffer = buffer
        self.epoch = epoch
        self.start = start
        self.stop = stop
        self.rank = rank
        self.part = part

    @abstractmethod
    def share(self, number: int, rows: Sequence[LabelledRow]) -> S:
        """Returns this process' share of step `number` of the epoch, whose rows of all processes are `rows`."""

    @property
    def columns(self) -> Sequence[str]:
        """The input's other columns that are encoded."""
        return ()

    def resampled(self, rows: Iterable[LabelledRow]) -> Iterable[LabelledRow]:
        """Repeat, skip or add rows, as the schedule counts on it."""
        return rows

    def __iter__(self) -> Iterator[S]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        for number, rows in enumerate(islice(self.step_rows(), self.stop)):
            # The DataLoader asks its workers in turns, so that the steps come in order.
            if number >= self.start and (number - self.start) % workers == worker:
                yield self.share(number, rows)

    def step_rows(self) -> Iterator[Sequence[LabelledRow]]:
        """Yields the rows of each step of the epoch, those of all processes together.

        The rows of POOL steps are sorted by length and cut into steps, which are then shuffled. Texts of one step are
        padded to its longest one: with mixed lengths that is about twice their mean.
        """
        rows, random = self.rows(), Random(f"{self.schedule.seed}/{self.epoch}/pools")
        for first in range(0, self.schedule.steps, POOL):
            numbers = range(first, min(first + POOL, self.schedule.steps))
            sizes = [stop - start for start, stop in (self.schedule.bounds(self.epoch, number) for number in numbers)]
            pool = sorted(islice(rows, sum(sizes)), key=lambda row: len(row.statement.evidence))
            steps = [pool[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
            random.shuffle(steps)
            yield from steps

    def rows(self) -> Iterator[LabelledRow]:
        """Yields the epoch's rows in the order of training."""
        random = Random(f"{self.schedule.seed}/{self.epoch}")
        splits = split_order(self.selection.reader, random)
        return shuffled(self.resampled(self._read(splits)), self.buffer, random)

    def _read(self, splits: Iterable[Split]) -> Iterator[LabelledRow]:
        for split in splits:
            for number, statement, target in self.selection.rows(split, self.part):
                kept = {name: statement.extra.get(name) for name in self.columns}
                bare = Statement(statement.source, statement.target, statement.evidence, kept)
                yield LabelledRow(number, bare, target)

    def mine(self, rows: Sequence[LabelledRow]) -> Sequence[LabelledRow]:
        """Returns the rows of a step that this process takes."""
        return rows[self.rank :: self.schedule.world]


class Stream(Steps[Step]):
    """The steps of a fine-tuning. `weights` are those of the classes, float64 [K]; None: all are 1."""

    def __init__(self, *, encoder: Encoder, weights: npt.NDArray[np.float64] | None, **settings: Any) -> None:
        super().__init__(**settings)
        self.encoder = encoder
        self.weights = weights

    @property
    def columns(self) -> Sequence[str]:
        return self.encoder.columns

    def resampled(self, rows: Iterable[LabelledRow]) -> Iterator[LabelledRow]:
        """Repeat or skip rows as a balanced epoch needs it, by systematic sampling within each class.

        Of a class with c copies a row and offset o, row n is repeated floor((n + 1) c + o) - floor(n c + o) times.
        """
        if not self.schedule.balanced:
            yield from rows
            return
        copies, offsets = self.schedule.copies().tolist(), self.schedule.offsets(self.epoch)
        read = [0] * len(copies)
        for row in rows:
            assert isinstance(row.target, int)
            each, offset, before = copies[row.target], offsets[row.target], read[row.target]
            read[row.target] += 1
            yield from [row] * (int((before + 1) * each + offset) - int(before * each + offset))

    def share(self, number: int, rows: Sequence[LabelledRow]) -> Step:
        mine = self.mine(rows)
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
            row[list(class_numbers(target))] = 1
        return hot

    def _weight(self, targets: Sequence[Target]) -> float:
        """Returns the divisor of torch's mean losses: the rows' weights, in a multi-label task rows times classes."""
        classes = self.selection.classes
        if classes.multi_label:
            return float(len(targets) * len(classes.labels))
        return float(len(targets)) if self.weights is None else float(self.weights[list(targets)].sum())


def split_order(reader: Reader, random: Random) -> Iterator[Split]:
    """Yields all splits in a random order. The splits of a file that cannot be seeked stay together and in order."""
    stretches = _stretches(reader)
    random.shuffle(stretches)
    return (reader.plan[number] for stretch in stretches for number in stretch)


def _stretches(reader: Reader) -> list[list[int]]:
    """Returns the splits by stretches that are read in order: each is one, but not in a file that cannot be seeked."""
    plan = reader.plan
    stretches: list[list[int]] = []
    for file, grouped in groupby(range(len(plan)), key=lambda number: plan.files[plan.file[number]]):
        splits = list(grouped)
        stretches += [[split] for split in splits] if reader.source.seekable(file) else [splits]
    return stretches


def hardly_mixed(reader: Reader, census: Census, buffer: int) -> Iterator[str]:
    """Yields a warning if a stretch that is read in order has more training rows than the shuffle buffer holds.

    Then rows meet only those near them. Of several such stretches the longest is named.
    """
    labelled = np.diff(np.append(census.first, census.labelled))
    share = census.rows[TRAIN] / max(census.labelled, 1)
    rows, stretch = max((int(labelled[stretch].sum() * share), stretch) for stretch in _stretches(reader))
    if rows > buffer:
        file = reader.plan[stretch[0]].file
        yield (
            f"{file}: about {rows:,} training rows are read in the file's order (it is compressed, or split.rows= is "
            f"large), but batch.buffer={buffer} shuffles fewer: where the file is sorted, the training is too. Unpack "
            f"or shuffle it, or give batch.buffer={rows}"
        )


def shuffled(rows: Iterable[LabelledRow], size: int, random: Random) -> Iterator[LabelledRow]:
    """Shuffle rows with a buffer of `size`: each row replaces a random one of the buffer, which is yielded."""
    held: list[LabelledRow] = []
    for row in rows:
        if len(held) < size:
            held.append(row)
            continue
        place = random.randrange(size)
        yield held[place]
        held[place] = row
    random.shuffle(held)
    yield from held
