"""The base of all sources: a Source plans the splits of its files, and a Reader reads the share of one process."""

import reprlib
import sys
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
from stonkgs.source.fingerprint import Watch
from stonkgs.source.split import END, ROWS, Committed, Plan, Split, reading_order
from stonkgs.statement import Rejection, Statement, Tally

#: The three columns of a statement.
ROLES = ("source", "target", "evidence")
_repr = reprlib.Repr()
_repr.maxlist, _repr.maxstring, _repr.maxother = 40, 80, 200
#: Returns names for a message. A file of another format may have many, and long ones.
shortened = _repr.repr

#: A number of records.
Limit = Annotated[int, Range(1, sys.maxsize)]


class Source(IterableDataset[Statement | Rejection], Stage, ABC):
    """Reads statements from files. A subclass for a format defines `schema`, `reach`, `cuts` and `read`.

    A source holds paths and settings, which planning and reading do not change. `plan` lists the splits, and `reader`
    reads them. The constructor opens no file, and a pickle holds no open one.
    """

    @checked("source")
    def __init__(self, *, path: Paths, columns: Mapping[str, str] | None = None, limit: Limit | None = None) -> None:
        self.path = path
        #: role ("source", "target", "evidence") -> name of the input's column
        self.columns = {**{role: role for role in ROLES}, **(columns or {})}
        #: Number of records to read from the start of the input; None for all.
        self.limit = limit

    @abstractmethod
    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns the columns of the files and their types. Raises UserError where the files differ."""

    @abstractmethod
    def reach(self, file: str, count: int) -> tuple[int, int]:
        """Look for the first `count` records of a file.

        Returns how many of them there are, and a stop for `cuts`: a place behind the start of the last of them and at
        or before the start of the next.
        """

    @abstractmethod
    def cuts(self, file: str, rows: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns the [start, stop) of each split of a file, up to `stop` or the file's end, as an array [splits, 2].

        A split holds about `rows` records.
        """

    @abstractmethod
    def read(self, split: Split, schema: pa.Schema) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows of one split in order, and returns its counts. `schema` is the plan's."""

    def watch(self) -> tuple[Watch, ...]:
        """Returns the files as they are now. Raises UserError where one cannot be read."""
        return tuple(map(Watch.of, self.files()))

    def plan(self, rows: int = ROWS, watched: Sequence[Watch] = ()) -> Plan:
        """Returns the columns and all splits, of about `rows` records each.

        What is appended to a file after it was `watched` is left to a later run. Raises UserError where a file cannot
        be read or lacks a column.
        """
        self._check_roles()
        files = self.files()
        schema = self.schema(files)
        self._check_names(files[0], schema.names)
        reached = list(self._reached(files, {watch.path: watch.fingerprint.size for watch in watched}))
        # Arrays, because 100 GB are over a million splits.
        cuts = [self.cuts(file, rows, stop) for file, (_, stop) in zip(files, reached, strict=False)]
        file = np.repeat(np.arange(len(cuts)), [len(cut) for cut in cuts])
        start, stop = np.concatenate(cuts).T.copy()
        total = self.total(files) if self.limit is None else sum(count for count, _ in reached)
        return Plan(files[: len(cuts)], schema, file, start, stop, rows=total)

    def reader(self, plan: Plan | None = None, world: "World | None" = None, watched: Sequence[Watch] = ()) -> "Reader":
        """Returns a reader of `plan` (default: a new one) for one process of several (default: a single one).

        It looks at the `watched` files again while it reads them.
        """
        if plan is None:
            watched = watched or self.watch()
            plan = self.plan(watched=watched)
        return Reader(self, plan, world or World(), {watch.path: watch for watch in watched})

    def __iter__(self) -> Iterator[Statement | Rejection]:
        """Plan, and yield all rows; in a DataLoader's worker the rows of its share."""
        yield from self.reader()

    def others(self, schema: pa.Schema) -> list[str]:
        """Returns the columns of a plan's schema beside source, target and evidence: the keys of `Statement.extra`."""
        return [name for name in schema.names if name not in self.columns.values()]

    def files(self) -> tuple[str, ...]:
        """Returns the files that `path` names, in order. Raises UserError where there are none or one is no file."""
        return tuple(expand(self.path))

    def until(self, file: str, size: int) -> int:
        """Returns where the splits of a file end that had so many bytes, END where that follows from its content."""
        return END

    def takes_more(self, file: str) -> bool:
        """Returns whether rows may be appended to a file without a change of what is before them."""
        return False

    def _reached(self, files: Sequence[str], sizes: Mapping[str, int]) -> Iterator[tuple[int, int]]:
        """Yields what `reach` returns for each file, in order, until the limit is used up.

        The limit is applied when planning, so that any number of workers and processes read the same rows.
        """
        left = self.limit
        for file in files:
            if left == 0:
                return
            count, stop = (0, END) if left is None else self.reach(file, left)
            left = None if left is None else left - count
            yield count, min(stop, self.until(file, sizes.get(file, END)))

    def _check_roles(self) -> None:
        if unknown := set(self.columns) - set(ROLES):
            raise UserError(f"source.columns: no such role {sorted(unknown)}; there are {list(ROLES)}")

    def _check_names(self, file: str, names: Sequence[str]) -> None:
        """Raises UserError where two columns share a name, or a role's column is missing or is another role's too."""
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            called = ", ".join(map(shortened, twice[:10]))
            advice = f". {other}" if (other := self.advice(file, names)) else "; rename them"
            raise UserError(f"{file}: more than one column is called {called}{advice}")
        for name in self.columns.values():
            if name not in names:
                advice = self.advice(file, names) or "Name yours with source.columns.source=, .target= and .evidence="
                raise UserError(f"{file}: no column {name!r}; there are {shortened(list(names))}. {advice}")
        if len(set(self.columns.values())) < len(ROLES):
            raise UserError(f"source.columns: each role needs its own column, but they are {self.columns}")

    def total(self, files: Sequence[str]) -> int | None:
        """Returns the number of records in all files, where the format stores it; else None."""
        return None

    def advice(self, file: str, names: Sequence[str]) -> str:
        """Returns what to do about a missing column, where the columns look like another format's; else ""."""
        return ""

    def first_line(self, file: str) -> int:
        """Returns the number, from 1, of the first line that belongs to a split. The lines above it are a header."""
        return 1

    def seekable(self, file: str) -> bool:
        """Returns whether reading may start in the middle of a file without reading what is before."""
        return True


@dataclass(frozen=True, slots=True)
class World:
    """One process among several that read the same plan.

    Create it in the main process: a worker that was started by spawn or forkserver does not know the rank. The number
    of the worker, in contrast, is known in the worker only, so `reading_order` asks for it when it is called.
    """

    #: number of the process, from 0
    rank: int = 0
    #: number of processes
    size: int = 1
    #: the splits that are finished, where that is known; they are not read
    committed: Committed | None = None

    def reading_order(self, count: int) -> Iterator[int]:
        """Yields which of `count` splits this worker of this process reads, in the order of reading."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        whose = {"rank": self.rank, "world": self.size, "worker": worker, "workers": workers}
        return reading_order(count, **whose, committed=self.committed)

    def is_committed(self, split: Split) -> bool:
        """Returns whether a split is known to be on the disk by now."""
        return self.committed is not None and split.number in self.committed


@dataclass(frozen=True, eq=False)
class Reader(IterableDataset[Statement | Rejection]):
    """Reads one process' share of a plan. It is pickled to the DataLoader's workers."""

    source: Source
    plan: Plan
    world: World
    #: path -> the file as it was when the run began
    watched: Mapping[str, Watch]

    def at(self, world: World) -> Self:
        """Returns a reader of the same plan for another process."""
        return replace(self, world=world)

    def splits(self) -> Iterator[Split]:
        """Returns the splits that this worker of this process reads, in the order of reading."""
        return map(self.plan.__getitem__, self.world.reading_order(len(self.plan)))

    def read(self, split: Split) -> Generator[Statement | Rejection, None, Tally]:
        """Yields the rows of any split of the plan in order, and returns its counts.

        Raises UserError where the file has changed, before the first row and after the last one.
        """
        self._look(split.file)
        tally = yield from self.source.read(split, self.plan.schema)
        self._look(split.file)
        return tally

    def grown(self) -> dict[str, int]:
        """Looks at all watched files again; returns those that have grown, and by how many bytes. Raises UserError."""
        found = {path: self._look(path, thorough=True) for path in self.watched}
        return {path: count for path, count in found.items() if count}

    def _look(self, path: str, *, thorough: bool = False) -> int:
        """Returns by how many bytes a file has grown. Raises UserError where it has changed in another way."""
        if (watch := self.watched.get(path)) is None:
            return 0
        if count := watch.check(thorough=thorough):
            watch.check_grown(count, rows=self.source.takes_more(path))
        return count

    def __iter__(self) -> Iterator[Statement | Rejection]:
        for split in self.splits():
            yield from self.read(split)


class SplitRows:
    """Iterates once over the rows of a split. After the last row, `tally` has the split's counts."""

    def __init__(self, rows: Generator[Statement | Rejection, None, Tally]) -> None:
        self.rows = rows
        self.tally = Tally()

    def __iter__(self) -> Iterator[Statement | Rejection]:
        self.tally = yield from self.rows


def common_schema(files: Sequence[str], schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Returns the one schema of all files. Raises UserError with the first difference in names, types or order."""
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
    return "missing" if field is None else f"{shortened(field.name)} ({field.type})"
