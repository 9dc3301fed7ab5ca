"""3. Example -> Batch: sorts windows of a split by length, cuts them into batches, and holds equal content once."""

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch.utils.data import IterableDataset

from stonkgs.encode.encoder import Encoder, Example
from stonkgs.encode.inputs import Arrays
from stonkgs.source.base import Reader, Source, SplitRows
from stonkgs.source.split import Split
from stonkgs.statement import Rejection, Statement, Tally
from stonkgs.tables.columns import as_columns

Int32 = npt.NDArray[np.int32]

#: Turns statements into the input's own columns.
Columns = Callable[[Sequence[Statement]], pa.RecordBatch]

NO_COLUMNS = pa.RecordBatch.from_arrays([], names=[])
#: Rejected rows wait for the next batch until they take so many bytes; then they are sent on their way in an empty one.
REJECTED_BYTES = 1 << 20
#: Bytes that a rejected row takes besides its raw text, about.
REJECTION_BYTES = 512


@dataclass(slots=True)
class SplitEnd:
    """What the writer needs to account for a split that was read completely."""

    tally: Tally
    #: another process has committed the split meanwhile: the rest is not read, and nothing of it counts
    elsewhere: bool = False


@dataclass(slots=True)
class Batch:
    """B statements of one split, as numpy arrays, which pass through a worker's pipe without shared memory.

    The properties give the inputs of STonKGs; see `Texts`, `Walks` and `Nodes`.
    """

    #: the split's number
    split: int
    #: int64 [B], each row's place among the statements of its split
    positions: npt.NDArray[np.int64]
    #: name of an input -> its arrays; empty if the model reads no inputs or there are no rows
    inputs: Mapping[str, Arrays]
    #: the input file's columns, B rows; no columns if the rows come from memory
    columns: pa.RecordBatch
    #: the rows that cannot be used, of those read since the split's last batch
    rejected: list[Rejection] = field(default_factory=list)
    #: set in the last batch of a split only
    end: SplitEnd | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def tokens(self) -> Int32:
        """Distinct texts, int32 [U, T], padded with 0."""
        return self.inputs["text"]["tokens"]

    @property
    def lengths(self) -> Int32:
        """Number of tokens in each text, int32 [U]."""
        return self.inputs["text"]["lengths"]

    @property
    def text(self) -> Int32:
        """Each row's text in `tokens`, int32 [B]."""
        return self.inputs["text"]["index"]

    @property
    def nodes(self) -> Int32:
        """Distinct rows of the store's vectors, int32 [M]."""
        return self.inputs["walks"]["nodes"]

    @property
    def graph(self) -> Int32:
        """Walks, int32 [B, G]: 0 unknown, 1 separator, 2 mask, SPECIALS + k for `nodes[k]`."""
        return self.inputs["walks"]["graph"]

    @property
    def found(self) -> npt.NDArray[np.int8]:
        """How source and target were found, int8 [B, 2], values of `Found`; UNKNOWN if they were not looked up."""
        if "nodes" in self.inputs:
            return self.inputs["nodes"]["found"]
        return np.zeros((len(self), 2), np.int8)

    @property
    def relations_known(self) -> npt.NDArray[np.bool_] | None:
        """Whether each row's relation is in the store, bool [B]; None if no relation is read."""
        known: npt.NDArray[np.bool_] | None = self.inputs.get("triple", {}).get("known")
        return known

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether each row's text was cut to fit, bool [B]; False if no text is read."""
        return self.inputs["text"]["truncated"] if "text" in self.inputs else np.zeros(len(self), np.bool_)


def collate(examples: Sequence[tuple[int, Example]], *, split: int = 0, columns: Columns | None = None) -> Batch:
    """Put (position, Example) pairs into a Batch. An empty sequence gives a batch without rows."""
    inputs = examples[0][1].inputs if examples else {}
    return Batch(
        split=split,
        positions=np.array([position for position, _ in examples], np.int64),
        inputs={
            name: entry.collate([example.values[name] for _, example in examples]) for name, entry in inputs.items()
        },
        columns=columns([example.statement for _, example in examples]) if columns else NO_COLUMNS,
    )


def window_batches(
    window: Sequence[Statement],
    encoder: Encoder,
    *,
    size: int,
    first: int = 0,
    split: int = 0,
    columns: Columns | None = None,
) -> Iterator[Batch]:
    """Encode a window of statements and yield it in sorted batches of `size` rows. Positions count from `first`."""
    examples = list(enumerate(encoder(window), first))
    encoder.sort(examples)
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size], split=split, columns=columns)


class Batches(IterableDataset[Batch]):
    """Reads splits, encodes and batches them. This runs in DataLoader workers.

    Windows and batches never span two splits, so the result does not depend on which worker or process reads a split.
    `size` is the rows of a batch, `window` the statements that are sorted together. A Source is planned on first use.
    """

    def __init__(self, *, source: Source | Reader, encoder: Encoder, size: int, window: int) -> None:
        self.source = source
        self.encoder = encoder
        self.size = size
        self.window = window

    @cached_property
    def reader(self) -> Reader:
        """The planned source."""
        return self.source if isinstance(self.source, Reader) else self.source.reader()

    def __iter__(self) -> Iterator[Batch]:
        for split in self.reader.splits():
            yield from self.split(split)
            trim_memory()

    def split(self, split: Split) -> Iterator[Batch]:
        """Yields the batches of a split. The last one carries the SplitEnd, and may have no rows."""
        end = SplitEnd(Tally())
        last: Batch | None = None
        for batch in self._batches(split, end):
            if last is not None:
                yield last
                if self.reader.world.is_committed(split):
                    last, end.elsewhere = None, True
                    break
            last = batch
        last = self._empty(split, []) if last is None else last  # a batch without rows is false
        last.end = end
        yield last

    def _batches(self, split: Split, end: SplitEnd) -> Iterator[Batch]:
        """Yields the batches of a split, a window at a time, each with the rows rejected before it; then set the tally.

        Neither rows nor rejected rows are held beyond their bounds, however many the split has.
        """
        reading = SplitRows(self.reader.read(split))
        window: list[Statement] = []
        rejected: list[Rejection] = []
        first = size = 0
        for record in reading:
            if isinstance(record, Rejection):
                rejected.append(record)
                size += len(record.raw) + REJECTION_BYTES
            else:
                window.append(record)
            if len(window) == self.window:
                yield from self._window(window, split, first, rejected)
                first += len(window)
            elif size >= REJECTED_BYTES:
                yield self._empty(split, rejected)
            else:
                continue
            window, rejected, size = [] if len(window) == self.window else window, [], 0
        end.tally = reading.tally
        if window:
            yield from self._window(window, split, first, rejected)
        elif rejected:
            yield self._empty(split, rejected)

    def _window(
        self, window: Sequence[Statement], split: Split, first: int, rejected: list[Rejection]
    ) -> Iterator[Batch]:
        """Yields the batches of a window; the first one carries the rejected rows."""
        options: dict[str, Any] = {"size": self.size, "first": first, "split": split.number, "columns": self._columns}
        for batch in window_batches(window, self.encoder, **options):
            batch.rejected, rejected = rejected, []
            yield batch

    def _empty(self, split: Split, rejected: list[Rejection]) -> Batch:
        batch = collate([], split=split.number, columns=self._columns)
        batch.rejected = rejected
        return batch

    def _columns(self, statements: Sequence[Statement]) -> pa.RecordBatch:
        return as_columns(statements, self.reader.plan.schema, self.reader.source.columns)


def trim_memory() -> None:
    """Returns freed memory that glibc keeps to the system. Takes milliseconds, so it is called once per split.

    Without it, fragmentation lets a process grow by tens of MB over the first hundred splits. Does nothing without
    glibc.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
