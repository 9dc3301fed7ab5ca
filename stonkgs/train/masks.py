"""Draws the masks of pre-training: which words and nodes of a row are hidden, and what the network reads instead."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stonkgs.encode.text import TextEncoder
from stonkgs.kge.shift import MASK, PUBLISHED_NUMBERS

Int32 = npt.NDArray[np.int32]

#: The share of the places that are to be guessed (Devlin et al. 2019).
SHARE: Final = 0.15
#: Of these, the share that reads the mask, and the share that reads something else; the rest reads what stands there.
HIDDEN, REPLACED = 0.8, 0.1
#: The entries of a vocabulary that are no words.
NO_WORDS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Masked(NamedTuple):
    """One half of a row: what the network reads, and what it is to say at some places."""

    #: int32 [S]
    values: Int32
    #: int64 [M], the places that are to be guessed, ascending
    places: npt.NDArray[np.int64]
    #: int64 [M], what stood there
    labels: npt.NDArray[np.int64]


class Masks(ABC):
    """Masks words of a vocabulary and nodes of a store. A subclass says which places may be masked.

    Each drawing takes a generator of random numbers, which alone decides it. May be pickled.
    """

    def __init__(self, text: TextEncoder, nodes: int) -> None:
        vocabulary = text.tokenizer.get_vocab()
        self.entries = text.vocabulary_size
        self.mask = int(vocabulary["[MASK]"])
        self.special = [vocabulary[word] for word in NO_WORDS if word in vocabulary]
        self.text_length = text.length
        self.nodes = nodes

    @abstractmethod
    def text(self, tokens: Int32, draw: np.random.Generator) -> Masked:
        """Mask token numbers `[CLS] pieces [SEP]`, int32 [T]."""

    @abstractmethod
    def graph(self, numbers: Int32, draw: np.random.Generator) -> Masked:
        """Mask a graph half, int32 [G]: numbers of nodes, or UNKNOWN, SEPARATOR. A masked node is MASK."""


class SparingMasks(Masks):
    """Masks words and known nodes alone, each with a chance of SHARE: no padding, special token or separator."""

    @cached_property
    def _is_word(self) -> npt.NDArray[np.bool_]:
        words = np.ones(self.entries, np.bool_)
        words[self.special] = False
        return words

    @cached_property
    def _words(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self._is_word)

    def text(self, tokens: Int32, draw: np.random.Generator) -> Masked:
        places = _some(np.flatnonzero(self._is_word[tokens]), draw)
        others = self._words[draw.integers(len(self._words), size=len(places))]
        return _masked(tokens, places, tokens[places], self.mask, others, draw)

    def graph(self, numbers: Int32, draw: np.random.Generator) -> Masked:
        places = _some(np.flatnonzero(numbers >= 0), draw)
        return _masked(numbers, places, numbers[places], MASK, draw.integers(self.nodes, size=len(places)), draw)


class PublishedMasks(Masks):
    """Masks as the first implementation did: SHARE of each half's places, be they padding, special or unknown.

    The text is padded to its full length. Separators and unknown nodes are to be guessed as the nodes that have their
    numbers.
    """

    def text(self, tokens: Int32, draw: np.random.Generator) -> Masked:
        padded = np.zeros(self.text_length, np.int32)
        padded[: len(tokens)] = tokens
        places = _so_many(len(padded), draw)
        others = draw.integers(self.entries, size=len(places))
        return _masked(padded, places, padded[places], self.mask, others, draw)

    def graph(self, numbers: Int32, draw: np.random.Generator) -> Masked:
        labels = numbers.copy()
        for code, number in PUBLISHED_NUMBERS.items():
            labels[numbers == code] = number
        places = _so_many(len(numbers), draw)
        others = draw.integers(self.nodes, size=len(places))
        return _masked(numbers, places, labels[places], MASK, others, draw)


def _some(places: npt.NDArray[np.int64], draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns each of the places with a chance of SHARE."""
    return places[draw.random(len(places)) < SHARE]


def _so_many(length: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns SHARE of the places 0 to length - 1, rounded down, ascending."""
    return np.sort(draw.choice(length, int(length * SHARE), replace=False))


def _masked(
    values: Int32,
    places: npt.NDArray[np.int64],
    labels: Int32,
    mask: int,
    others: npt.NDArray[np.int64],
    draw: np.random.Generator,
) -> Masked:
    """Put the mask, or one of `others` [M], in the places [M]; or leave them as they are."""
    chance, read = draw.random(len(places)), values[places].astype(np.int64)
    read = np.where(chance < HIDDEN, mask, np.where(chance < HIDDEN + REPLACED, others, read))
    values = values.copy()
    values[places] = read
    return Masked(values, places, labels.astype(np.int64))
