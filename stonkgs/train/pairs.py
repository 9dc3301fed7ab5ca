"""Turns statements into steps of pre-training: pairs of a text and a graph, with masks, in an order that seed and epoch
decide.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.batch import Batch, collate
from stonkgs.encode.encoder import Encoder, Example
from stonkgs.encode.walks import Walks
from stonkgs.kge.shift import vector_rows
from stonkgs.statement import Statement
from stonkgs.train.masks import Masked, Masks
from stonkgs.train.selection import LabelledRow
from stonkgs.train.stream import Share, Steps

#: Labels of a pair: text and graph are of one row, or of two.
TOGETHER, APART = 0, 1
#: The share of further rows whose text is paired with another row's graph, as published.
FURTHER: Final = 0.25
#: Rows among which such a graph is looked for; twice as many are held. As published it may be any row's.
WINDOW: Final = 4096
#: How often a graph is drawn before all of them are looked through.
TRIES: Final = 8

Int64 = npt.NDArray[np.int64]
#: What a row states: source, target, evidence.
_Stated = tuple[str, str, str]


class Guesses(NamedTuple):
    """What is to be said of a share: masked places by row and column of their half, and what stood there, int64 [M]."""

    rows: Int64
    columns: Int64
    labels: Int64


@dataclass(slots=True)
class PairShare(Share):
    """A share with what is to be guessed of its rows."""

    text: Guesses
    nodes: Guesses
    #: TOGETHER or APART, int64 [B]
    pairs: Int64


@dataclass(frozen=True, eq=False)
class PairEncoder:
    """Encodes and masks pairs of text and graph. It may be pickled."""

    #: the inputs `text` and `walks`; the latter gives the nodes' own numbers
    encoder: Encoder
    masks: Masks
    #: as in the model's configuration
    legacy_node_shift: bool
    seed: int

    def __call__(self, rows: Sequence[LabelledRow], *, epoch: int, number: int) -> PairShare:
        """Encode the rows of step `number`. A row's masks depend on seed, epoch and row, not on the rows beside it."""
        examples = self.encoder([row.statement for row in rows])
        masked = [self._masked(row, example, epoch) for row, example in zip(rows, examples, strict=True)]
        texts, graphs = [text for text, _ in masked], [graph for _, graph in masked]
        return PairShare(
            number=number,
            batch=self._batch(examples, texts, graphs) if examples else collate([]),
            text=_guesses(texts),
            nodes=_guesses(graphs),
            pairs=np.array([row.target for row in rows], np.int64),
        )

    def _masked(self, row: LabelledRow, example: Example, epoch: int) -> tuple[Masked, Masked]:
        assert isinstance(row.target, int)
        draw = np.random.default_rng([self.seed, epoch, row.number, row.target])
        return self.masks.text(example.tokens, draw), self.masks.graph(example.rows, draw)

    def _batch(self, examples: Sequence[Example], texts: Sequence[Masked], graphs: Sequence[Masked]) -> Batch:
        """Each row has a text of its own. The lengths are those of the texts without padding, masked or not."""
        walks = self.encoder.inputs["walks"]
        assert isinstance(walks, Walks)
        tokens = np.zeros((len(texts), max(len(text.values) for text in texts)), np.int32)
        for padded, text in zip(tokens, texts, strict=True):
            padded[: len(text.values)] = text.values
        lengths = np.array([len(example.tokens) for example in examples], np.int32)
        cut = np.array([example.text_truncated for example in examples])
        rows = [vector_rows(graph.values, legacy_node_shift=self.legacy_node_shift) for graph in graphs]
        batch = collate([])
        batch.positions = np.arange(len(examples))
        index = np.arange(len(examples), dtype=np.int32)
        batch.inputs = {
            "text": {"tokens": tokens, "lengths": lengths, "index": index, "truncated": cut},
            "walks": walks.collate(rows),
        }
        return batch


def _guesses(halves: Sequence[Masked]) -> Guesses:
    if not halves:
        return Guesses(*(np.zeros(0, np.int64) for _ in Guesses._fields))
    counts = [len(half.places) for half in halves]
    return Guesses(
        np.repeat(np.arange(len(halves)), counts),
        np.concatenate([half.places for half in halves]),
        np.concatenate([half.labels for half in halves]),
    )


class PairStream(Steps[PairShare]):
    """The steps of a pre-training."""

    def __init__(self, *, encode: PairEncoder, **settings: Any) -> None:
        super().__init__(**settings)
        self.encode = encode

    def resampled(self, rows: Iterable[LabelledRow]) -> Iterator[LabelledRow]:
        return with_further(rows, Random(f"{self.schedule.seed}/{self.epoch}/pairs"))

    def share(self, number: int, rows: Sequence[LabelledRow]) -> PairShare:
        return self.encode(self.mine(rows), epoch=self.epoch, number=self.epoch * self.schedule.steps + number)


def further(rows: int) -> int:
    """Returns how many pairs `with_further` adds to so many rows."""
    return int(rows * FURTHER)


def with_further(rows: Iterable[LabelledRow], random: Random, *, window: int = WINDOW) -> Iterator[LabelledRow]:
    """Yields each row as TOGETHER, and of FURTHER of them also the text with another row's graph, as APART.

    The other row is one of the same or the last window. None of the rows held, those of both windows, has this text and
    that graph: the rows of one text often state several triples, and one triple is stated by many texts. Where there is
    no such row, the row comes twice.
    """
    unread, read = iter(rows), 0
    before: list[LabelledRow] = []
    while held := [row._replace(target=TOGETHER) for row in islice(unread, window)]:
        count = further(read + len(held)) - further(read)
        chosen = set(random.sample(range(len(held)), count))
        both = (*before, *held)
        stated = {_stated(row.statement, row.statement.evidence) for row in both}
        for place, row in enumerate(held):
            yield row
            if place in chosen:
                yield _apart(row, both, stated, random)
        before, read = held, read + len(held)


def _apart(row: LabelledRow, held: Sequence[LabelledRow], stated: Collection[_Stated], random: Random) -> LabelledRow:
    """Returns a row's text with the graph of another one that no row states of it; the row itself if all are stated."""
    text = row.statement.evidence
    places = [random.randrange(len(held)) for _ in range(TRIES)]
    for place in (*places, *range(len(held))):
        graph = held[place].statement
        if _stated(graph, text) not in stated:
            return row._replace(statement=Statement(graph.source, graph.target, text), target=APART)
    return row


def _stated(graph: Statement, text: str) -> _Stated:
    return graph.source, graph.target, text
