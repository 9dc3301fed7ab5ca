"""Which rows train, which choose, which test: decided row by row, without looking at any other."""

import math
from abc import ABC, abstractmethod
from functools import cache, cached_property
from hashlib import blake2b
from typing import Annotated

import numpy as np
import numpy.typing as npt

from stonkgs.config import Stage
from stonkgs.config.values import MOST, Count, Fraction, Range, checked
from stonkgs.errors import UserError
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)

#: splitmix64's constants.
_STEP, _ROUNDS = 0x9E3779B97F4A7C15, ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MOST = 2**64 - 1

#: So many parts take turns at being tested.
Folds = Annotated[int, Range(2, MOST)]


class Protocol(Stage, ABC):
    """How rows are divided. `name` stands beside every figure."""

    @checked("protocol")
    def __init__(
        self, *, validation: Fraction, test: Fraction, folds: Folds | None, fold: int, max_rows: Count | None, seed: int
    ):
        if validation + (1 / folds if folds else test) >= 1:
            tested = f"folds={folds}" if folds else f"test={test}"
            raise UserError(f"protocol.validation={validation} and protocol.{tested} leave nothing to train with")
        if not 0 <= fold < (folds or 1):
            raise UserError(f"protocol.fold={fold}: is one of 0 to {(folds or 1) - 1}" + _advice(folds))
        self.validation, self.test = validation, test
        self.folds, self.fold = folds, fold
        self.max_rows = max_rows
        self.seed = seed
        #: labelled rows in all, once they are counted
        self.rows = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """The protocol in a line."""

    @abstractmethod
    def part(self, statement: Statement, number: int) -> str:
        """The part of a labelled row, the `number`th from 0 of all labelled rows in the input's order."""

    def columns(self) -> tuple[str, ...]:
        """Columns that the input must have beside the task's."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are to have rows."""
        return tuple(part for part in PARTS if part != VALIDATION or self.validation)

    def drawn(self, number: int) -> bool:
        """Whether a labelled row is among the `max_rows` that are drawn from all of them."""
        return self._highest is None or scramble(self.seed, number) <= self._highest

    @cached_property
    def _highest(self) -> int | None:
        """The largest scrambled number that is drawn; None where all are. Looked for in 8 bytes a row, for a moment."""
        if self.max_rows is None or self.rows <= self.max_rows:
            return None
        return int(np.partition(scrambled(self.seed, self.rows), self.max_rows - 1)[self.max_rows - 1])

    def _shares(self) -> str:
        shares = f"fold {self.fold + 1} of {self.folds}" if self.folds else f"test {self.test:g}"
        return f"{shares}, validation {self.validation:g}" + (f", {self.max_rows:,} rows" if self.max_rows else "")


class Grouped(Protocol):
    """Rows of one group are in one part, so that nothing is tested that was seen: by default those of one evidence.

    A group's part follows from the hash of its name: rows that are added later move no other, and need no list.
    With `folds` the test part is the fold of the number `fold` instead of a share, by the same hash.
    """

    @checked("protocol")
    def __init__(
        self,
        *,
        by: str = "evidence",
        validation: Fraction = 0.1,
        test: Fraction = 0.2,
        folds: Folds | None = None,
        fold: int = 0,
        max_rows: Count | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(validation=validation, test=test, folds=folds, fold=fold, max_rows=max_rows, seed=seed)
        if not by:
            raise UserError(f"protocol.by={by}: is a column, such as evidence or pmid")
        self.by = by

    @property
    def name(self) -> str:
        """The protocol in a line."""
        return f"grouped by {self.by}, {self._shares()}, hash seed {self.seed}"

    def columns(self) -> tuple[str, ...]:
        """The grouping column, unless it is a role of every statement."""
        return () if self.by in ROLES else (self.by,)

    def part(self, statement: Statement, number: int) -> str:
        """By two hashes of the group: one for the test part, one for the validation part of what is left."""
        group = getattr(statement, self.by) if self.by in ROLES else statement.extra[self.by]
        # Blanks and case do not make another sentence of one. A row without a group is a group of its own.
        missing = group is None or (isinstance(group, float) and math.isnan(group))
        text = "" if missing else " ".join(str(group).lower().split())
        name = text or f"\0{number}"
        test, validation = self._places(name)
        if int(test * self.folds) == self.fold if self.folds else test < self.test:
            return TEST
        # Of what is left, so many that they are `validation` of all.
        left = 1 - (1 / self.folds if self.folds else self.test)
        return VALIDATION if validation * left < self.validation else TRAIN

    def _places(self, name: str) -> tuple[float, float]:
        """Two places in [0, 1), of 53 bits, that follow from the name alone."""
        digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16, key=b"%d" % self.seed).digest()
        high, low = (int.from_bytes(digest[at : at + 8]) >> 11 for at in (0, 8))
        return high / 2**53, low / 2**53


class Shuffled(Protocol):
    """The paper's protocol: a shuffled K-fold over the rows (scikit-learn's KFold, seed 42), of at most 100,000.

    Rows of one evidence stand on both sides, so that its figures are too good: for comparison with published ones
    only. Of more rows those that count are drawn by a hash; the first implementation drew them by class, and left out
    rows whose nodes it did not know. The paper had no validation part; with one, it is drawn from the training rows.
    """

    @checked("protocol")
    def __init__(
        self, *, validation: Fraction = 0.0, folds: Folds = 5, fold: int = 0, max_rows: Count = 100_000, seed: int = 42
    ) -> None:
        super().__init__(validation=validation, test=0.0, folds=folds, fold=fold, max_rows=max_rows, seed=seed)

    @property
    def name(self) -> str:
        """The protocol in a line."""
        return f"shuffled K-fold on rows (the paper's; rows of one evidence are on both sides), {self._shares()}"

    def part(self, statement: Statement, number: int) -> str:
        """By the row's place among those that are drawn."""
        place = number if self._order is None else int(np.searchsorted(self._order, number))
        if self._tested[place]:
            return TEST
        chance = scramble(self.seed + 1, number) / 2**64
        return VALIDATION if chance * (1 - 1 / (self.folds or 1)) < self.validation else TRAIN

    @cached_property
    def _order(self) -> npt.NDArray[np.int64] | None:
        """The numbers of the rows that are drawn, where not all are: int64 [max_rows]."""
        if self._highest is None:
            return None
        return np.flatnonzero(scrambled(self.seed, self.rows) <= self._highest)

    @cached_property
    def _tested(self) -> npt.NDArray[np.bool_]:
        """Which of the drawn rows are the fold's: bool [rows]."""
        from sklearn.model_selection import KFold

        count = min(self.rows, self.max_rows or self.rows)
        if count < (self.folds or 1):
            raise UserError(
                f"protocol.folds={self.folds}: there are {count:,} labelled rows; give more, or fewer folds"
            )
        folds = KFold(n_splits=self.folds or 1, shuffle=True, random_state=self.seed)
        tested = np.zeros(count, np.bool_)
        tested[list(folds.split(np.zeros(count)))[self.fold][1]] = True
        return tested


class Everything(Protocol):
    """All labelled rows are tested: for rows that a finished model has never seen."""

    def __init__(self, *, max_rows: int | None = None, seed: int = 0) -> None:
        super().__init__(validation=0.0, test=0.0, folds=None, fold=0, max_rows=max_rows, seed=seed)

    @property
    def name(self) -> str:
        """The protocol in a line."""
        return "all labelled rows" + (f", {self.max_rows:,} drawn" if self.max_rows else "")

    @property
    def parts(self) -> tuple[str, ...]:
        """The test part alone."""
        return (TEST,)

    def part(self, statement: Statement, number: int) -> str:
        """The test part."""
        return TEST


def scramble(seed: int, number: int) -> int:
    """A 64-bit number that follows from two: splitmix64 (Steele et al. 2014), a bijection of `number`."""
    mixed = (number * _STEP + _start(seed)) & _MOST
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ (mixed >> shift)) * factor & _MOST
    return mixed ^ (mixed >> 31)


def scrambled(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """`scramble` of 0 to count - 1: uint64 [count]."""
    mixed = np.arange(count, dtype=np.uint64) * np.uint64(_STEP) + np.uint64(_start(seed))
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


@cache
def _start(seed: int) -> int:
    return int.from_bytes(blake2b(b"%d" % seed, digest_size=8).digest())


def _advice(folds: int | None) -> str:
    return "" if folds else "; it counts with protocol.folds= only"
