"""3. Example -> Batch: length-sorted windows inside a split, what is equal in a batch sent once."""

import ctypes
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch.utils.data import IterableDataset

from stonkgs.encode.encoder import Example
from stonkgs.source.base import Reader, Reading, Source
from stonkgs.source.split import Split
from stonkgs.statement import Rejection, Statement, Tally
from stonkgs.tables.columns import as_columns

Int32 = npt.NDArray[np.int32]

#: Statements as the input's columns.
Columns = Callable[[Sequence[Statement]], pa.RecordBatch]

NO_COLUMNS = pa.RecordBatch.from_arrays([], names=[])

#: What makes examples of statements: an Encoder, mostly.
Encode = Callable[[Sequence[Statement]], list[Example]]

#: `Batch.graph` counts the special vectors first (unknown, separator, mask), then `Batch.nodes`.
SPECIALS = 3


@dataclass(slots=True)
class SplitEnd:
    """What the writer has to know to account for all of a split that is through."""

    rejected: list[Rejection]
    tally: Tally
    #: another process has committed the split meanwhile: the rest of it is not read, and nothing of it counts
    elsewhere: bool = False


@dataclass(slots=True)
class Batch:
    """B statements of one split, as numpy arrays: they pass through a worker's pipe without shared memory.

    Equal texts stand in it once, and equal nodes once: U <= B texts of at most T tokens, M distinct vector rows.
    """

    #: number of the split
    split: int
    #: int64 [B], each row's place among the statements of its split
    positions: npt.NDArray[np.int64]
    #: int32 [U, T], padded with 0
    tokens: Int32
    #: int32 [U], tokens of each text
    lengths: Int32
    #: int32 [B], each row's text in `tokens`
    text: Int32
    #: int32 [M], distinct rows of the store's vectors
    nodes: Int32
    #: int32 [B, G], 0 unknown, 1 separator, 2 mask, SPECIALS + k for `nodes[k]`
    graph: Int32
    #: int8 [B, 2], how source and target were found: `stonkgs.encode.encoder.Found`
    found: npt.NDArray[np.int8]
    #: bool [B], whether the text was cut to fit
    truncated: npt.NDArray[np.bool_]
    #: the input's columns, B rows; none where the rows never were in a file
    columns: pa.RecordBatch
    #: set on the last batch of a split
    end: SplitEnd | None = None

    def __len__(self) -> int:
        return len(self.positions)


def collate(examples: Sequence[tuple[int, Example]], *, split: int = 0, columns: Columns | None = None) -> Batch:
    """Put encoded statements with their positions together. An empty sequence gives a batch of no rows."""
    tokens, lengths, text = _distinct_texts([example.tokens for _, example in examples])
    rows = np.stack([example.rows for _, example in examples]) if examples else np.zeros((0, 0), np.int32)
    nodes = np.unique(rows[rows >= 0])
    return Batch(
        split=split,
        positions=np.array([position for position, _ in examples], np.int64),
        tokens=tokens,
        lengths=lengths,
        text=text,
        nodes=nodes,
        graph=np.where(rows < 0, -1 - rows, np.searchsorted(nodes, rows) + SPECIALS).astype(np.int32),
        found=np.array([example.found for _, example in examples], np.int8).reshape(-1, 2),
        truncated=np.array([example.text_truncated for _, example in examples], np.bool_),
        columns=columns([example.statement for _, example in examples]) if columns else NO_COLUMNS,
    )


def window_batches(
    window: Sequence[Statement],
    encoder: Encode,
    *,
    size: int,
    first: int = 0,
    split: int = 0,
    columns: Columns | None = None,
) -> Iterator[Batch]:
    """A window of statements, numbered from `first`, encoded and sorted into batches of `size` rows."""
    examples = list(enumerate(encoder(window), first))
    # Equal lengths waste no padding; equal texts side by side are read once.
    examples.sort(key=lambda item: (len(item[1].tokens), item[1].tokens.tobytes(), item[0]))
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size], split=split, columns=columns)


def _distinct_texts(tokens: Sequence[Int32]) -> tuple[Int32, Int32, Int32]:
    """Padded distinct texts [U, T], their lengths [U], and each row's text [B]."""
    numbers: dict[bytes, int] = {}
    text = np.array([numbers.setdefault(ids.tobytes(), len(numbers)) for ids in tokens], np.int32)
    lengths = np.array([len(key) // 4 for key in numbers], np.int32)
    padded = np.zeros((len(numbers), lengths.max(initial=0)), np.int32)
    for row, key in zip(padded, numbers, strict=True):
        row[: len(key) // 4] = np.frombuffer(key, np.int32)
    return padded, lengths, text


class Batches(IterableDataset[Batch]):
    """The chain that runs in the DataLoader's workers: read a split, encode it, batch it.

    Windows and batches are formed inside a split and nothing outlives one, so which worker or process has read it
    does not show in the result. A source that comes without a plan is planned when it is read first.
    """

    def __init__(self, *, source: Source | Reader, encoder: Encode, size: int, window: int) -> None:
        self.source = source
        self.encoder = encoder
        self.size = size
        self.window = window

    @cached_property
    def reader(self) -> Reader:
        """What the rows come from."""
        return self.source if isinstance(self.source, Reader) else self.source.reader()

    def __iter__(self) -> Iterator[Batch]:
        for split in self.reader.splits():
            yield from self.split(split)
            give_back()

    def split(self, split: Split) -> Iterator[Batch]:
        """One split's batches; the last one, which may have no rows, carries the SplitEnd."""
        end = SplitEnd([], Tally())
        last: Batch | None = None
        for batch in self._batches(split, self._statements(split, end)):
            if last is not None:
                yield last
                if self.reader.world.is_committed(split):
                    last, end.elsewhere = None, True
                    break
            last = batch
        last = last or collate([], split=split.number, columns=self._columns)
        last.end = end
        yield last

    def _statements(self, split: Split, end: SplitEnd) -> Generator[Statement, None, None]:
        """The usable rows; what is not, and the tally, goes into `end`."""
        reading = Reading(self.reader.read(split))
        for record in reading:
            if isinstance(record, Rejection):
                end.rejected.append(record)
            else:
                yield record
        end.tally = reading.tally

    def _batches(self, split: Split, statements: Iterator[Statement]) -> Iterator[Batch]:
        first = 0
        while window := list(islice(statements, self.window)):
            yield from window_batches(
                window, self.encoder, size=self.size, first=first, split=split.number, columns=self._columns
            )
            first += len(window)

    def _columns(self, statements: Sequence[Statement]) -> pa.RecordBatch:
        return as_columns(statements, self.reader.plan.schema, self.reader.source.columns)


def give_back() -> None:
    """Return what is freed, but kept by the C library, to the system. Takes milliseconds: once a split.

    Texts and splits come in all sizes, and glibc keeps the holes that they leave: the process would grow by tens of MB
    over the first hundred splits, though it holds no more than before. Elsewhere than on glibc this does nothing.
    """
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
