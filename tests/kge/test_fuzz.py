"""Damage to what is not data in a good store: it works or it is refused, and HDF5 neither crashes nor hangs.

A child process reads, so that its death is a failed test and not the end of all tests.
"""

from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.kge.info import store_info
from stonkgs.kge.store import KgeStore

#: seconds for a child to read some stores; one takes milliseconds
PATIENCE = 60

#: (where, counted over what is no data and not far from something that is not zero; bytes that are put there)
Damage = list[tuple[int, bytes]]
EDGES = st.sampled_from(
    [b"\0", b"\xff", b"\x7f", b"\x80", b"\1", 4 * b"\xff", 8 * b"\xff", 8 * b"\0", 7 * b"\0" + b"\x80"]
)
DAMAGE = st.lists(st.tuples(st.integers(0, 2**16), EDGES | st.binary(min_size=1, max_size=8)), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def places(good: Path) -> list[int]:
    """Where a byte of the file means something to HDF5."""
    content = np.frombuffer(good.read_bytes(), np.uint8)
    with h5py.File(good) as file:
        spans = [(data.id.get_offset(), data.id.get_offset() + data.nbytes) for data in file.values()]
    meaning = np.convolve(content != 0, np.ones(17), "same") > 0
    for start, stop in spans:
        meaning[start:stop] = False
    return [int(place) for place in np.flatnonzero(meaning)]


Probe = Callable[[list[bytes]], None]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """Has a child read each of some files: they work, or are refused in one line."""
    path, context = tmp_path_factory.mktemp("fuzz") / "bad.h5", get_context("fork")

    def ask(contents: list[bytes]) -> None:
        child = context.Process(target=_check, args=(path, contents))
        child.start()
        child.join(PATIENCE)
        child.kill()
        child.join()
        assert child.exitcode == 0, f"the child ended with {child.exitcode}"

    return ask


def _check(path: Path, contents: list[bytes]) -> None:
    for content in contents:
        path.write_bytes(content)
        answer = _read(str(path))
        assert answer == "works" or (f"{path}: " in answer and "\n" not in answer), answer


def _read(path: str) -> str:
    """Everything that a prediction asks a store for; whatever it raises but these two reaches the test."""
    store = KgeStore(path=path)
    try:
        store_info(path)
        assert len(store.header.digest) == 64
        for name in ("p(HGNC:3 ! node 3)", "p(HGNC:3)", "NA"):
            assert -1 <= store.number(name) < store.nodes
            assert -1 <= store.identified(name) < store.nodes
        for number in (0, 3, store.nodes - 1):
            assert store.walk(number).shape == (store.walk_length,)
            assert store.gather(np.array([number])).shape == (1, store.dimension)
            assert isinstance(store.name(number), str)
    except UserError as refused:
        return str(refused)
    for call in (store.walk, store.name, lambda number: store.gather(np.array([number]))):
        with pytest.raises(IndexError):
            call(store.nodes)
    return "works"


def test_a_good_store_works(good: Path) -> None:
    assert _read(str(good)) == "works"


@settings(max_examples=40, deadline=None)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=20))
def test_damaged_headers(good: Path, places: list[int], probe: Probe, damages: list[Damage]) -> None:
    probe([_damaged(good.read_bytes(), places, damage) for damage in damages])


def _damaged(content: bytes, places: list[int], damage: Damage) -> bytes:
    copy = bytearray(content)
    for where, value in damage:
        place = places[where % len(places)]
        copy[place : place + len(value)] = value
    return bytes(copy)


CUTS = st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(-9, 9))


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(CUTS, min_size=1, max_size=20))
def test_bytes_lost_or_gained(good: Path, probe: Probe, cuts: list[tuple[float, float, int]]) -> None:
    probe([_cut(good.read_bytes(), *cut) for cut in cuts])


def _cut(content: bytes, start: float, share: float, gained: int) -> bytes:
    place = int(start * len(content))
    if gained >= 0:
        return content[:place] + gained * b"\xff" + content[place:]
    return content[:place] + content[place + int(share * len(content)) :]
