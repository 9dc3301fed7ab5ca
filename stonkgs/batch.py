"""3. Example -> Batch: length-sorted windows inside a split, what is equal in a batch sent once."""

import ctypes
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
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

#: Statements as the input's columns.
Columns = Callable[[Sequence[Statement]], pa.RecordBatch]

NO_COLUMNS = pa.RecordBatch.from_arrays([], names=[])


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

    The properties are for the inputs of STonKGs; see `Texts`, `Walks` and `Nodes` for their shapes.
    """

    #: number of the split
    split: int
    #: int64 [B], each row's place among the statements of its split
    positions: npt.NDArray[np.int64]
    #: name of an input -> its arrays; none where nothing was asked for, or where there are no rows
    inputs: Mapping[str, Arrays]
    #: the input's columns, B rows; none where the rows never were in a file
    columns: pa.RecordBatch
    #: set on the last batch of a split
    end: SplitEnd | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def tokens(self) -> Int32:
        """int32 [U, T], distinct texts, padded with 0"""
        return self.inputs["text"]["tokens"]

    @property
    def lengths(self) -> Int32:
        """int32 [U], tokens of each text"""
        return self.inputs["text"]["lengths"]

    @property
    def text(self) -> Int32:
        """int32 [B], each row's text in `tokens`"""
        return self.inputs["text"]["index"]

    @property
    def nodes(self) -> Int32:
        """int32 [M], distinct rows of the store's vectors"""
        return self.inputs["walks"]["nodes"]

    @property
    def graph(self) -> Int32:
        """int32 [B, G], 0 unknown, 1 separator, 2 mask, SPECIALS + k for `nodes[k]`"""
        return self.inputs["walks"]["graph"]

    @property
    def found(self) -> npt.NDArray[np.int8]:
        """int8 [B, 2], how source and target were found: `Found`; UNKNOWN where nobody has looked."""
        if "nodes" in self.inputs:
            return self.inputs["nodes"]["found"]
        return np.zeros((len(self), 2), np.int8)

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether each row's text was cut to fit, bool [B]; False where no text is read."""
        return self.inputs["text"]["truncated"] if "text" in self.inputs else np.zeros(len(self), np.bool_)


def collate(examples: Sequence[tuple[int, Example]], *, split: int = 0, columns: Columns | None = None) -> Batch:
    """Put encoded statements with their positions together. An empty sequence gives a batch of no rows."""
    inputs = examples[0][1].inputs if examples else {}
    return Batch(
        split=split,
        positions=np.array([position for position, _ in examples], np.int64),
        inputs={
            name: source.collate([example.values[name] for _, example in examples]) for name, source in inputs.items()
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
    """A window of statements, numbered from `first`, encoded and sorted into batches of `size` rows."""
    examples = list(enumerate(encoder(window), first))
    encoder.sort(examples)
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size], split=split, columns=columns)


class Batches(IterableDataset[Batch]):
    """The chain that runs in the DataLoader's workers: read a split, encode it, batch it.

    Windows and batches are formed inside a split and nothing outlives one, so which worker or process has read it
    does not show in the result. A source that comes without a plan is planned when it is read first.
    """

    def __init__(self, *, source: Source | Reader, encoder: Encoder, size: int, window: int) -> None:
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
        reading = SplitRows(self.reader.read(split))
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
