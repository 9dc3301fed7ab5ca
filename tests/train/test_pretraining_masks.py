"""Masks of pre-training: how many places, which ones, and what stands in them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.encode.text import TextEncoder
from stonkgs.kge.shift import MASK, PUBLISHED_NUMBERS, SEPARATOR, UNKNOWN
from stonkgs.train.masks import Masked, Masks, PublishedMasks, SparingMasks

WORDS = [f"w{number}" for number in range(200)]
#: As many nodes as the published numbers of special vectors need.
NODES = 150
LENGTH = 40


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    path = tmp_path_factory.mktemp("text") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    return TextEncoder(path=str(path), length=LENGTH)


def tokens(count: int, draw: np.random.Generator) -> npt.NDArray[np.int32]:
    """[CLS], words among which some are unknown, [SEP]."""
    return np.array([2, *np.where(draw.random(count) < 0.1, 1, draw.integers(5, 205, count)), 3], np.int32)


def half(draw: np.random.Generator) -> npt.NDArray[np.int32]:
    """A walk, and an unknown node's."""
    return np.array([*draw.integers(NODES, size=30), SEPARATOR, *[UNKNOWN] * 30, SEPARATOR], np.int32)


def within(found: int, of: int, share: float) -> bool:
    """Whether a count is within four standard deviations of a binomial's mean."""
    return bool(abs(found - of * share) < 4 * np.sqrt(of * share * (1 - share)))


def check_shares(given: list[npt.NDArray[np.int32]], masked: list[Masked], mask: int) -> None:
    """Of the places 80% have the mask, 10% something else, 10% what stood there; and nothing else has changed."""
    hidden = kept = places = 0
    for before, after in zip(given, masked, strict=True):
        others = np.ones(len(before), bool)
        others[after.places] = False
        assert (before[others] == after.values[others]).all()
        hidden += int((after.values[after.places] == mask).sum())
        kept += int((after.values[after.places] == before[after.places]).sum())
        places += len(after.places)
    assert places > 2000
    assert within(hidden, places, 0.8)
    assert within(kept, places, 0.1 + 0.1 / NODES)


def test_words_and_known_nodes_alone_are_masked(text: TextEncoder) -> None:
    masks, draw = SparingMasks(text, NODES), np.random.default_rng(0)
    texts, graphs = [tokens(30, draw) for _ in range(1000)], [half(draw) for _ in range(1000)]
    read, walked = [masks.text(one, draw) for one in texts], [masks.graph(one, draw) for one in graphs]
    for before, after in zip(texts, read, strict=True):
        assert (before[after.places] >= 5).all()
        assert (after.labels == before[after.places]).all()
        assert set(after.values[after.places]) <= {4, *range(5, 205)}
    for before, after in zip(graphs, walked, strict=True):
        assert (before[after.places] >= 0).all()
        assert (after.labels == before[after.places]).all()
        assert set(after.values[after.places]) <= {MASK, *range(NODES)}
    words = sum(int((one >= 5).sum()) for one in texts)
    assert within(sum(len(one.places) for one in read), words, 0.15)
    assert within(sum(len(one.places) for one in walked), 30 * 1000, 0.15)
    check_shares(texts, read, 4)
    check_shares(graphs, walked, MASK)


def test_every_place_and_every_word_has_its_turn(text: TextEncoder) -> None:
    masks, draw, one = SparingMasks(text, NODES), np.random.default_rng(1), np.arange(5, 35, dtype=np.int32)
    drawn = [masks.text(one, draw) for _ in range(3000)]
    counts = np.bincount(np.concatenate([after.places for after in drawn]), minlength=30)
    assert all(within(int(count), 3000, 0.15) for count in counts)
    assert {int(value) for after in drawn for value in after.values[after.places]} >= {4, *range(5, 205)}


def test_the_published_masks_are_38_of_256(text: TextEncoder) -> None:
    """In padding and at special tokens as well; separators and unknown nodes have the labels of nodes."""
    text = TextEncoder(path=text.path, length=256)
    masks, draw = PublishedMasks(text, NODES), np.random.default_rng(0)
    seen = set()
    padded, read = [], []
    for _ in range(200):
        one = tokens(20, draw)
        padded.append(np.array([*one, *[0] * (256 - len(one))], np.int32))
        read.append(masks.text(one, draw))
        assert (len(read[-1].values), len(read[-1].places)) == (256, 38)
        assert (read[-1].labels == padded[-1][read[-1].places]).all()
        seen |= set(read[-1].places.tolist())
    assert seen == set(range(256))
    check_shares(padded, read, 4)
    graph = np.array([*range(127), SEPARATOR, *[UNKNOWN] * 127, SEPARATOR], np.int32)
    masked = [masks.graph(graph, draw) for _ in range(200)]
    assert {len(after.places) for after in masked} == {38}
    wanted = np.where(graph >= 0, graph, [PUBLISHED_NUMBERS.get(int(code), 0) for code in graph])
    assert all((after.labels == wanted[after.places]).all() for after in masked)
    check_shares([graph] * 200, masked, MASK)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(0, 38), seed=st.integers(0, 2**32))
def test_any_text_gives_places_that_fit_it(text: TextEncoder, count: int, seed: int) -> None:
    kinds: tuple[type[Masks], ...] = (SparingMasks, PublishedMasks)
    for kind in kinds:
        one = tokens(count, np.random.default_rng(seed))
        first, again = (kind(text, NODES).text(one, np.random.default_rng(seed)) for _ in range(2))
        assert [array.tolist() for array in first] == [array.tolist() for array in again], "the generator decides"
        assert len(first.values) == (len(one) if kind is SparingMasks else LENGTH)
        assert len(set(first.places.tolist())) == len(first.places) == len(first.labels)
