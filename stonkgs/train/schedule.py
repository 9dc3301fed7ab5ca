"""How many steps a training has, and which rows each takes: arithmetic that every process does alike."""

from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

#: Offsets are drawn from so many: coarse enough that rounding moves none over a whole number.
_FINE = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A training of `epochs` passes. All processes take every step together, each its share of the step's rows."""

    #: rows of each class in the training part: int64 [K]; of a multi-label task all rows as if of one class
    counts: npt.NDArray[np.int64]
    epochs: int
    #: rows of a step and process, at most
    size: int
    #: processes
    world: int = 1
    #: validations in an epoch
    laps: int = 1
    #: batches whose gradients make one step of the optimizer
    accumulate: int = 1
    #: each class is seen equally often
    balanced: bool = False
    seed: int = 0

    @property
    def rows(self) -> int:
        """Rows of an epoch, balanced or not."""
        return int(self.counts.sum())

    @property
    def steps(self) -> int:
        """Steps of an epoch: as many as rows need; no row is left out, and no step is much smaller than the others.

        With a size of 1 rather one fewer, some of whose shares are two rows, than one where a process has none.
        """
        return max(1, min(-(-self.rows // (self.size * self.world)), self.rows // self.world))

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps

    @property
    def optimizer_steps(self) -> int:
        """Steps of the optimizer: gradients are not accumulated beyond a lap."""
        return self.epochs * sum(-(-(stop - start) // self.accumulate) for start, stop in self.lap_bounds())

    def lap_bounds(self) -> list[tuple[int, int]]:
        """The steps [start, stop) of an epoch after each of which there is a validation."""
        laps = min(self.laps, self.steps)
        return [(self.steps * lap // laps, self.steps * (lap + 1) // laps) for lap in range(laps)]

    def lap(self, done: int) -> tuple[int, int, int]:
        """The epoch, and its steps [start, stop) that are left of the current lap when `done` steps are done."""
        epoch, start = divmod(done, self.steps)
        return epoch, start, next(stop for _, stop in self.lap_bounds() if start < stop)

    def laps_left(self, done: int) -> int:
        """Laps that are to be run, or to be ended, when `done` steps are done."""
        epoch, start = divmod(done, self.steps)
        bounds = self.lap_bounds()
        return (self.epochs - epoch) * len(bounds) - sum(stop <= start for _, stop in bounds)

    def is_lap_end(self, done: int) -> bool:
        """Whether a lap is over when `done` steps are done."""
        return done > 0 and done % self.steps in {start for start, _ in self.lap_bounds()}

    def is_boundary(self, done: int) -> bool:
        """Whether the optimizer has just taken a step when `done` steps are done."""
        _, start, _ = self.lap(done)
        first = max(first for first, _ in self.lap_bounds() if first <= start)
        return (start - first) % self.accumulate == 0

    def copies(self) -> npt.NDArray[np.float64]:
        """How often an epoch has each row, on average, by its class: float64 [K]."""
        if not self.balanced:
            return np.ones(len(self.counts))
        there = self.counts > 0  # a rare class may have all of its rows in another part
        copies: npt.NDArray[np.float64] = np.zeros(len(self.counts))
        copies[there] = self.rows / (there.sum() * self.counts[there])
        return copies

    def offsets(self, epoch: int) -> list[float]:
        """Where the systematic sampling of each class starts, in [0, 1): it decides which rows have a copy more.

        Each is drawn evenly, but together they are evenly spread: no epoch has more rows than another.
        """
        classes = len(self.counts)
        if not self.balanced:
            return [0.0] * classes
        draw = Random(f"{self.seed}/{epoch}/copies")
        shift = (draw.randrange(_FINE) + 0.5) / _FINE
        return [(place + shift) / classes for place in draw.sample(range(classes), classes)]

    def drawn(self, epoch: int) -> int:
        """Rows of this very epoch, as its sampling rounds them, known before any is read."""
        return int(sum(np.floor(self.counts * self.copies() + self.offsets(epoch))))

    def bounds(self, epoch: int, step: int) -> tuple[int, int]:
        """The rows [first, last) of the epoch's stream that a step of it takes, all processes together."""
        rows = self.drawn(epoch)
        return rows * step // self.steps, rows * (step + 1) // self.steps
