"""Who reads which split, when: every process by itself, and in the end each split was read."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from stonkgs.source.split import reading_order


class Disk:
    """What is committed, as all processes see it."""

    def __init__(self, count: int, done: set[int]) -> None:
        self.done = np.zeros(count, np.bool_)
        self.done[list(done)] = True

    def __contains__(self, number: int) -> bool:
        return bool(self.done[number])

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        return self.done[:count].copy()


class Worker:
    """A worker that reads `ahead` splits before the first of them is committed, as the DataLoader has it do."""

    def __init__(self, turn: Iterator[int], disk: Disk, ahead: int) -> None:
        self.turn, self.disk, self.ahead = turn, disk, ahead
        self.read: list[int] = []
        self.through = False

    def step(self) -> None:
        """Read one more, and commit the one that has been read so long ago."""
        number = next(self.turn, None)
        if number is None:
            self.through = True
            self.disk.done[self.read] = True
        else:
            self.read.append(number)
            self.disk.done[self.read[: -self.ahead or None]] = True


def crew(count: int, world: int, workers: int, disk: Disk, ahead: int) -> list[Worker]:
    share = {"world": world, "workers": workers}
    return [
        Worker(reading_order(count, rank=rank, worker=worker, **share, committed=disk), disk, ahead)
        for rank in range(world)
        for worker in range(workers)
    ]


@given(
    st.integers(0, 40), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.sets(st.integers(0, 39)), st.data()
)
def test_each_split_is_read_whoever_dies(
    count: int, world: int, workers: int, ahead: int, done: set[int], data: st.DataObject
) -> None:
    """Workers in any order of steps; some of the processes die on the way, but not all."""
    disk = Disk(count, done & set(range(count)))
    before = disk.done.copy()
    everyone = crew(count, world, workers, disk, ahead)
    survivor = data.draw(st.integers(0, world - 1))
    alive = everyone
    steps = random.Random(data.draw(st.integers(0, 99)))
    death = data.draw(st.integers(0, count))
    for step in range(10_000):
        if step == death:
            alive = everyone[survivor * workers : (survivor + 1) * workers]
        if not (at_work := [worker for worker in alive if not worker.through]):
            break
        steps.choice(at_work).step()
    assert disk.done.all()
    for worker in everyone:
        assert len(set(worker.read)) == len(worker.read), "a worker reads none twice"
        assert not before[worker.read].any(), "what is committed is not read again"
    for first in range(0, len(everyone), workers):
        process = Counter(number for worker in everyone[first : first + workers] for number in worker.read)
        assert max(process.values(), default=1) == 1, "nor do two workers of one process"


def test_helpers_do_not_all_do_the_same() -> None:
    """Three processes, one of which never comes: its 100 splits are shared, with little of it done twice."""
    disk = Disk(300, set())
    workers = crew(300, 3, 1, disk, ahead=1)[:2]
    while not all(worker.through for worker in workers):
        for worker in workers:
            worker.step()
    read = [number for worker in workers for number in worker.read]
    assert disk.done.all()
    assert len(read) <= 310
    assert abs(len(workers[0].read) - len(workers[1].read)) <= 10


def test_a_slow_process_is_helped_from_the_end() -> None:
    disk = Disk(100, set())
    slow, quick = crew(100, 2, 1, disk, ahead=1)
    for step in range(1000):
        quick.step()
        if step % 10 == 0:
            slow.step()
        if quick.through:
            break
    assert slow.read[:-1] == list(range(0, 2 * len(slow.read) - 2, 2))
    assert len(slow.read) + len(quick.read) <= 102
    helped = [number for number in quick.read if number % 2 == 0]
    assert min(helped) > slow.read[-2] - 4
    assert sum(a > b for a, b in pairwise(helped)) < 10, "few passes through a packed file"


def test_a_million_splits_take_no_time() -> None:
    disk = Disk(1_000_000, set())
    disk.done[:-3] = True
    numbers = list(reading_order(1_000_000, rank=1, world=2, worker=0, workers=1, committed=disk))
    assert numbers == [999_997, 999_999, 999_998]
