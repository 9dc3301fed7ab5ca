"""Computes how many steps a training has, and which rows each step takes. Every process computes the same."""

from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

#: Offsets are multiples of 1 / _GRID: so coarse that rounding moves no sum over a whole number.
_GRID = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """The steps of a training. All processes take each step together, and each takes its share of the step's rows.

    A lap is the stretch of an epoch between two validations. `done` counts the finished steps of all epochs.
    """

    #: rows of each class in the training part, int64 [K]; in a multi-label task all rows, [1]
    counts: npt.NDArray[np.int64]
    epochs: int
    #: the largest number of rows that one process takes in a step
    size: int
    #: processes
    world: int = 1
    #: laps of an epoch
    laps: int = 1
    #: steps whose gradients are summed for one step of the optimizer
    accumulate: int = 1
    #: whether an epoch has equally many rows of each class
    balanced: bool = False
    seed: int = 0

    @property
    def rows(self) -> int:
        """Rows of an epoch; balancing does not change their number."""
        return int(self.counts.sum())

    @property
    def steps(self) -> int:
        """Steps of an epoch, just enough for all rows. The rows are spread evenly over them.

        There are never more steps than each process has rows, so that each has a row in every step. With a size of 1
        some steps therefore take two rows of a process.
        """
        return max(1, min(-(-self.rows // (self.size * self.world)), self.rows // self.world))

    @property
    def optimizer_steps(self) -> int:
        """Steps of the optimizer in all epochs. Gradients are not accumulated beyond the end of a lap."""
        return self.epochs * sum(-(-(stop - start) // self.accumulate) for start, stop in self.lap_bounds())

    def lap_bounds(self) -> list[tuple[int, int]]:
        """Returns the steps [start, stop) of each lap of an epoch."""
        laps = min(self.laps, self.steps)
        return [(self.steps * lap // laps, self.steps * (lap + 1) // laps) for lap in range(laps)]

    def lap(self, done: int) -> tuple[int, int, int]:
        """Returns the current epoch, and the steps [start, stop) of it that are left in the current lap."""
        epoch, start = divmod(done, self.steps)
        return epoch, start, next(stop for _, stop in self.lap_bounds() if start < stop)

    def laps_left(self, done: int) -> int:
        """Returns the number of laps that are not finished."""
        epoch, start = divmod(done, self.steps)
        bounds = self.lap_bounds()
        return (self.epochs - epoch) * len(bounds) - sum(stop <= start for _, stop in bounds)

    def is_lap_end(self, done: int) -> bool:
        """Returns whether step `done` was the last of a lap."""
        return done > 0 and done % self.steps in {start for start, _ in self.lap_bounds()}

    def is_boundary(self, done: int) -> bool:
        """Returns whether the optimizer took a step after step `done`."""
        _, start, _ = self.lap(done)
        first = max(first for first, _ in self.lap_bounds() if first <= start)
        return (start - first) % self.accumulate == 0

    def is_due(self, done: int, every: int) -> bool:
        """Returns whether something that is done every `every` steps is due at the boundary `done`.

        It is if that many have passed since it was due last; boundaries need not fall on multiples of `every`.
        """
        return done // every > max(done - self.accumulate, 0) // every

    def copies(self) -> npt.NDArray[np.float64]:
        """Returns how often an epoch has a row of each class, on average: float64 [K]."""
        if not self.balanced:
            return np.ones(len(self.counts))
        present = self.counts > 0  # a rare class may have all of its rows in another part
        copies: npt.NDArray[np.float64] = np.zeros(len(self.counts))
        copies[present] = self.rows / (present.sum() * self.counts[present])
        return copies

    def offsets(self, epoch: int) -> list[float]:
        """Returns where the systematic sampling of each class starts, in [0, 1), which decides how its copies round.

        Each offset is uniform. Together they are evenly spread over the classes that have rows, so that all epochs have
        the same number of rows, and none of their steps is without one.
        """
        present = np.flatnonzero(self.counts)
        offsets = [0.0] * len(self.counts)
        if self.balanced:
            draw = Random(f"{self.seed}/{epoch}/copies")
            shift = (draw.randrange(_GRID) + 0.5) / _GRID
            for number, place in zip(present.tolist(), draw.sample(range(len(present)), len(present)), strict=True):
                offsets[number] = (place + shift) / len(present)
        return offsets

    def sampled_rows(self, epoch: int) -> int:
        """Returns the number of rows that the sampling of this epoch gives, before any is read."""
        return int(sum(np.floor(self.counts * self.copies() + self.offsets(epoch))))

    def bounds(self, epoch: int, step: int) -> tuple[int, int]:
        """Returns the rows [first, last) of the epoch's stream that all processes together take in a step."""
        rows = self.sampled_rows(epoch)
        return rows * step // self.steps, rows * (step + 1) // self.steps
