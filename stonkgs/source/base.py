"""What every source is: an IterableDataset over the splits of its files."""

import reprlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from stonkgs.config import Stage
from stonkgs.config.values import Range, checked
from stonkgs.errors import UserError
from stonkgs.source.file import Paths, expand
from stonkgs.source.split import END, ROWS, Committed, Plan, Split, turns
from stonkgs.statement import Rejection, Statement, Tally

#: The three columns that a statement is made of.
ROLES = ("source", "target", "evidence")
#: Names for a message: of a file that is something else they may be many, and long.
shown = reprlib.Repr()
shown.maxlist, shown.maxstring, shown.maxother = 40, 80, 200

#: A number of records, of however many.
Limit = Annotated[int, Range(1)]


class Source(IterableDataset[Statement | Rejection], Stage, ABC):
    """Where statements come from. A format writes `schema`, `reach`, `cuts` and `read`.

    A source is its paths and its settings, and planning or reading does not change them. `plan` lists the splits, and
    `reader` reads them. Nothing is opened before, and no open file is pickled.
    """

    @checked("source")
    def __init__(self, *, path: Paths, columns: Mapping[str, str] | None = None, limit: Limit | None = None) -> None:
        self.path = path
        #: role -> the input's name for it
        self.columns = {**{role: role for role in ROLES}, **(columns or {})}
        #: Only so many records are read, the first ones; None: all.
        self.limit = limit

    @abstractmethod
    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Columns and types of the files, which are all alike; UserError where they are not."""

    @abstractmethod
    def reach(self, file: str, count: int) -> tuple[int, int]:
        """How many of the first `count` records a file has, and a place behind their starts and before the next's."""

    @abstractmethod
    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """The [start, stop) of each split of a file up to `stop` or its end, of about `rows` records: [splits, 2]."""

    @abstractmethod
    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """Yield the rows of one split in order; return what else there is to tell of it.

        `schema` has the columns of the plan that the split is from.
        """

    def plan(self, rows: int = ROWS) -> Plan:
        """List the splits of about `rows` records each, and fix the columns. Raises UserError."""
        self._check_roles()
        files = self.files()
        schema = self.schema(files)
        self._check_names(files[0], schema.names)
        reached = list(self._reached(files))
        # An array a file: 100 GB are over a million splits.
        cuts = [self.cuts(file, rows, stop) for file, (_, stop) in zip(files, reached, strict=False)]
        file = np.repeat(np.arange(len(cuts)), [len(cut) for cut in cuts])
        start, stop = np.concatenate(cuts).T.copy()
        total = self.total(files) if self.limit is None else sum(count for count, _ in reached)
        return Plan(files[: len(cuts)], schema, file, start, stop, rows=total)

    def reader(self, plan: Plan | None = None, world: "World | None" = None) -> "Reader":
        """What reads this source by a plan, or by one that is made now, as one process of several or alone."""
        return Reader(self, plan or self.plan(), world or World())

    def __iter__(self) -> Iterator[Statement | Rejection]:
        """All rows, planned anew; in a DataLoader's worker the rows of its share."""
        yield from self.reader()

    def files(self) -> tuple[str, ...]:
        """The files behind `path`, in their order; UserError where there are none, or one cannot be read."""
        return tuple(expand(self.path))

    def _reached(self, files: Sequence[str]) -> Iterator[tuple[int, int]]:
        """What `reach` tells of each file from which records are read: up to the limit, over the files in order.

        Decided here and not while reading, so that it is the same for any number of workers and processes.
        """
        left = self.limit
        for file in files:
            if left == 0:
                return
            count, stop = (0, END) if left is None else self.reach(file, left)
            left = None if left is None else left - count
            yield count, stop

    def _check_roles(self) -> None:
        if unknown := set(self.columns) - set(ROLES):
            raise UserError(f"source.columns: no such role {sorted(unknown)}; there are {list(ROLES)}")

    def _check_names(self, file: str, names: Sequence[str]) -> None:
        """UserError where two columns share a name, or where a role's column is missing or taken by two."""
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            called = ", ".join(map(shown.repr, twice[:10]))
            raise UserError(f"{file}: more than one column is called {called}; rename them")
        for name in self.columns.values():
            if name not in names:
                advice = self.advice(names) or "Name yours with source.columns.source=, .target= and .evidence="
                raise UserError(f"{file}: no column {name!r}; there are {shown.repr(list(names))}. {advice}")
        if len(set(self.columns.values())) < len(ROLES):
            raise UserError(f"source.columns: each role needs its own column, but they are {self.columns}")

    def total(self, files: Sequence[str]) -> int | None:
        """Records in all, where the format knows without reading them."""
        return None

    def advice(self, names: Sequence[str]) -> str:
        """What to do where these columns are not those looked for, if they tell; else nothing."""
        return ""

    def first_line(self, file: str) -> int:
        """Number, from 1, of the file's first line that belongs to a split: what is above it is a header."""
        return 1

    def seekable(self, file: str) -> bool:
        """Whether a split in the midst of a file costs no more than one at its start."""
        return True


@dataclass(frozen=True, slots=True)
class World:
    """One process among several that read the same plan.

    Create it in the main process: in a worker started by spawn or forkserver torch.distributed is not initialised, and
    asking it there gives every process rank 0. The worker's number, in turn, is known in the worker alone, so `turns`
    asks for it when it is called.
    """

    #: the process' number, from 0, and how many processes there are
    rank: int = 0
    size: int = 1
    #: which splits need not be read any more, where that is known
    committed: Committed | None = None

    def turns(self, count: int) -> Iterator[int]:
        """The numbers of the splits, of `count`, that this worker of this process reads, in its order."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        whose = {"rank": self.rank, "world": self.size, "worker": worker, "workers": workers}
        return turns(count, **whose, committed=self.committed)

    def is_committed(self, split: Split) -> bool:
        """Whether a split is known to be on the disk by now."""
        return self.committed is not None and split.number in self.committed


@dataclass(frozen=True, eq=False)
class Reader(IterableDataset[Statement | Rejection]):
    """A source, its plan, and the share of it that one process reads. Travels to the DataLoader's workers."""

    source: Source
    plan: Plan
    world: World

    def at(self, world: World) -> Self:
        """The same rows as another process reads them."""
        return replace(self, world=world)

    def splits(self) -> Iterator[Split]:
        """The splits that this worker of this process reads, in its order."""
        return map(self.plan.__getitem__, self.world.turns(len(self.plan)))

    def read(self, split: Split) -> Generator[Statement | Rejection, None, Tally]:
        """Yield the rows of any split of the plan in order; return what else there is to tell of it."""
        return self.source.read(split, self.plan.schema)

    def __iter__(self) -> Iterator[Statement | Rejection]:
        for split in self.splits():
            yield from self.read(split)


class Reading:
    """The rows of a split, to be iterated once; when all of them are through, `tally` is what else there is to tell."""

    def __init__(self, rows: Generator[Statement | Rejection, None, Tally]) -> None:
        self.rows = rows
        self.tally = Tally()

    def __iter__(self) -> Iterator[Statement | Rejection]:
        self.tally = yield from self.rows


def alike(files: Sequence[str], schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The one schema of all files: the same names and types in the same order, else a UserError with the difference."""
    first: pa.Schema | None = None
    for file, schema in zip(files, schemas, strict=True):
        first = schema if first is None else first
        for number, (here, there) in enumerate(zip_longest(schema, first), start=1):
            if here is None or there is None or (here.name, here.type) != (there.name, there.type):
                raise UserError(
                    f"{file}: column {number} is {_described(here)}, but in {files[0]} it is {_described(there)}; "
                    "the files of one source have the same columns in the same order"
                )
    return first


def _described(field: pa.Field | None) -> str:
    return "missing" if field is None else f"{shown.repr(field.name)} ({field.type})"
