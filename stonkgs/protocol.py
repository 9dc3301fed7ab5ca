"""Divides labelled rows into training, validation and test part, each row by itself."""

import math
from abc import ABC, abstractmethod
from functools import cache, cached_property
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from stonkgs.config import Stage
from stonkgs.config.values import MOST, Count, Fraction, Range, checked
from stonkgs.errors import UserError
from stonkgs.indra.convert import NO_TEXT
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)

#: The constants of splitmix64.
GOLDEN, _ROUNDS = 0x9E3779B97F4A7C15, ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MASK = 2**64 - 1

#: What stands for a text where there is none, as it is compared: INDRA's exports write it, and so do our sources.
_PLACEHOLDERS = frozenset({NO_TEXT.lower()})

#: The number of folds of a cross-validation.
Folds = Annotated[int, Range(2, MOST)]


class Protocol(Stage, ABC):
    """How labelled rows are divided. `name` is shown beside every figure."""

    #: whether a row's part follows from the row alone: then it is the same in every file
    by_row: ClassVar[bool] = False

    @checked("protocol")
    def __init__(
        self, *, validation: Fraction, test: Fraction, folds: Folds | None, fold: int, max_rows: Count | None, seed: int
    ):
        if validation + (1 / folds if folds else test) >= 1:
            tested = f"folds={folds}" if folds else f"test={test}"
            raise UserError(f"protocol.validation={validation} and protocol.{tested} leave nothing to train with")
        if not 0 <= fold < (folds or 1):
            advice = "" if folds else "; it counts with protocol.folds= only"
            raise UserError(f"protocol.fold={fold}: is one of 0 to {(folds or 1) - 1}{advice}")
        self.validation, self.test = validation, test
        self.folds, self.fold = folds, fold
        self.max_rows = max_rows
        self.seed = seed
        #: all labelled rows; set when they are counted
        self.rows = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """The protocol in a line."""

    @property
    def division(self) -> dict[str, Any]:
        """What decides whether a row is tested, as JSON values: equal divisions of the same rows test the same ones."""
        keys = ("test", "folds", "fold", "seed", *(() if self.by_row else ("max_rows",)))
        return {"protocol": type(self).__name__, **{key: getattr(self, key) for key in keys}}

    @abstractmethod
    def part(self, statement: Statement, number: int) -> str:
        """Returns the part of a labelled row. `number` counts labelled rows from 0 in the input's order."""

    def columns(self) -> tuple[str, ...]:
        """Returns the columns that the input must have beside the task's."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that must have rows."""
        return tuple(part for part in PARTS if part != VALIDATION or self.validation)

    def drawn(self, number: int) -> bool:
        """Returns whether a labelled row is in the random sample of `max_rows` rows."""
        return self._highest is None or scramble(self.seed, number) <= self._highest

    @cached_property
    def _highest(self) -> int | None:
        """The largest scrambled number in the sample; None if all rows are in. Finding it takes 8 bytes a row."""
        if self.max_rows is None or self.rows <= self.max_rows:
            return None
        return int(np.partition(scrambled(self.seed, self.rows), self.max_rows - 1)[self.max_rows - 1])

    def _shares(self) -> str:
        shares = f"fold {self.fold + 1} of {self.folds}" if self.folds else f"test {self.test:g}"
        return f"{shares}, validation {self.validation:g}" + (f", {self.max_rows:,} rows" if self.max_rows else "")


class Grouped(Protocol):
    """Puts all rows of a group, by default those of one evidence, into one part. So no tested text was trained with.

    A hash of the group's name decides its part, so that rows that are added later do not move others. With `folds` the
    test part is fold `fold` of them, by the same hash. Rows without a group, and rows whose evidence says that there is
    none, are grouped by their evidence, or else by source and target.
    """

    by_row: ClassVar[bool] = True

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
            raise UserError(f"protocol.by={by}: must be a column, such as evidence or pmid")
        self.by = by

    @property
    def name(self) -> str:
        return f"grouped by {self.by}, {self._shares()}, hash seed {self.seed}"

    @property
    def division(self) -> dict[str, Any]:
        return {**super().division, "by": self.by}

    def columns(self) -> tuple[str, ...]:
        """Returns the grouping column, unless it is source, target or evidence, which every input has."""
        return () if self.by in ROLES else (self.by,)

    def part(self, statement: Statement, number: int) -> str:
        """Returns the part by two hashes of the group: the first decides the test part, the second the other two."""
        test, validation = self._hashes(self.group(statement))
        if int(test * self.folds) == self.fold if self.folds else test < self.test:
            return TEST
        # `validation` is a share of all rows: of the rest it is a larger one.
        rest = 1 - (1 / self.folds if self.folds else self.test)
        return VALIDATION if validation * rest < self.validation else TRAIN

    def group(self, statement: Statement) -> str:
        """Returns the name of a row's group. Raises KeyError if the row lacks the column, which `columns` names."""
        group = getattr(statement, self.by) if self.by in ROLES else statement.extra[self.by]
        return _name(group) or _instead(statement)

    def _hashes(self, name: str) -> tuple[float, float]:
        """Returns two independent hashes of a name, as numbers in [0, 1) of 53 bits."""
        digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16, key=b"%d" % self.seed).digest()
        high, low = (int.from_bytes(digest[at : at + 8]) >> 11 for at in (0, 8))
        return high / 2**53, low / 2**53


def _name(group: Any) -> str:
    """Returns the name of a group; empty if there is none. Texts that differ in blanks or case are one group."""
    missing = group is None or (isinstance(group, float) and math.isnan(group))
    text = "" if missing else " ".join(str(group).lower().split())
    return "" if text in _PLACEHOLDERS else text


def _instead(statement: Statement) -> str:
    """Returns the name of the group of a row that has none: its evidence, or source and target where that is missing.

    So equal rows are in one part also then. No text has this name, because of the zero bytes.
    """
    return _name(statement.evidence) or f"\0{_name(statement.source)}\0{_name(statement.target)}"


class Shuffled(Protocol):
    """The paper's protocol: scikit-learn's KFold with seed 42 over shuffled rows, at most 100,000 of them.

    It is for comparison with published figures only: they are too good, because rows of one evidence are in both
    training and test part. Of more rows a hash draws a sample; the first implementation drew it by class, and left out
    rows with unknown nodes. The paper had no validation part; here one is taken from the training rows if asked for.
    """

    @checked("protocol")
    def __init__(
        self, *, validation: Fraction = 0.0, folds: Folds = 5, fold: int = 0, max_rows: Count = 100_000, seed: int = 42
    ) -> None:
        super().__init__(validation=validation, test=0.0, folds=folds, fold=fold, max_rows=max_rows, seed=seed)

    @property
    def name(self) -> str:
        return f"shuffled K-fold on rows (the paper's; rows of one evidence are on both sides), {self._shares()}"

    def part(self, statement: Statement, number: int) -> str:
        """Returns the part by the row's place in the sample."""
        place = number if self._order is None else int(np.searchsorted(self._order, number))
        if self._tested[place]:
            return TEST
        chance = scramble(self.seed + 1, number) / 2**64
        return VALIDATION if chance * (1 - 1 / (self.folds or 1)) < self.validation else TRAIN

    @cached_property
    def _order(self) -> npt.NDArray[np.int64] | None:
        """The numbers of the sampled rows, int64 [max_rows]; None if all rows are in."""
        if self._highest is None:
            return None
        return np.flatnonzero(scrambled(self.seed, self.rows) <= self._highest)

    @cached_property
    def _tested(self) -> npt.NDArray[np.bool_]:
        """Which of the sampled rows are in the fold: bool [rows]."""
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
    """Tests all labelled rows. It is for rows that a finished model was not trained with."""

    def __init__(self, *, max_rows: int | None = None, seed: int = 0) -> None:
        super().__init__(validation=0.0, test=0.0, folds=None, fold=0, max_rows=max_rows, seed=seed)

    @property
    def name(self) -> str:
        return "all labelled rows" + (f", {self.max_rows:,} drawn" if self.max_rows else "")

    @property
    def parts(self) -> tuple[str, ...]:
        return (TEST,)

    def part(self, statement: Statement, number: int) -> str:
        return TEST


def scramble(seed: int, number: int) -> int:
    """Returns a pseudo-random 64-bit number: splitmix64 (Steele et al. 2014), a bijection of `number` for each seed."""
    mixed = (number * GOLDEN + _start(seed)) & _MASK
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ (mixed >> shift)) * factor & _MASK
    return mixed ^ (mixed >> 31)


def scrambled(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Returns `scramble` of 0 to count - 1: uint64 [count]."""
    return scrambled_numbers(seed, np.arange(count, dtype=np.uint64))


def scrambled_numbers(seed: int, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns `scramble` of each number: uint64, of the same shape."""
    return mixed(numbers * np.uint64(GOLDEN) + np.uint64(_start(seed)))


def mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns a pseudo-random number for each number, the same for equal ones: the output function of splitmix64."""
    for shift, factor in _ROUNDS:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


@cache
def _start(seed: int) -> int:
    return int.from_bytes(blake2b(b"%d" % seed, digest_size=8).digest())
