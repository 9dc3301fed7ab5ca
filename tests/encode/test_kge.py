"""The KGE store: what it gives back, and what it refuses."""

import gc
import math
import multiprocessing
import os
import pickle
import shutil
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from stonkgs.errors import UserError
from stonkgs.kge.build import build
from stonkgs.kge.layout import name_hash
from stonkgs.kge.store import KgeStore

NAMES = ['p(HGNC:1 ! A, var("p.V6E"))', "NA", "", "µ ! naïve 蛋白", "trailing ", '"', "nan"]
VECTORS = np.random.default_rng(0).standard_normal((len(NAMES), 5)).astype(np.float32)
WALKS = {0: [0, 1, 2], 1: [6, 6, 6], 2: [2, 2, 2], 3: [5, 4, 3], 6: [1, 0, 1]}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("kge"))


def _build(folder: Path, *, half: bool = False) -> Path:
    vectors, walks = folder / "v.tsv", folder / "w.tsv"
    lines = ["\t".join([name, *(repr(float(x)) for x in row)]) for name, row in zip(NAMES, VECTORS, strict=True)]
    vectors.write_text("\n".join(lines) + "\n", "utf-8")
    walks.write_text(
        "".join("\t".join(NAMES[n] for n in [node, *walk]) + "\n" for node, walk in WALKS.items()), "utf-8"
    )
    build(vectors=str(vectors), walks=str(walks), output=str(folder / "kge.h5"), half=half)
    return folder / "kge.h5"


@pytest.fixture
def store(good: Path) -> KgeStore:
    return KgeStore(path=str(good))


def test_gives_back_what_went_in(store: KgeStore) -> None:
    assert (store.nodes, store.dimension, store.walk_length) == (7, 5, 3)
    assert [store.number(name) for name in NAMES] == list(range(7))
    assert [store.name(number) for number in range(7)] == NAMES
    np.testing.assert_array_equal(store.vectors, VECTORS)
    for node in range(7):
        assert store.walk(node).tolist() == WALKS.get(node, [-1, -1, -1])
    assert len(store.digest) == 64


@pytest.mark.parametrize("name", ["p(HGNC:1 ! A", "trailing", "na", " ", "\ud800", "NA\n"])
def test_a_name_is_found_by_exactly_its_text(store: KgeStore, name: str) -> None:
    assert store.number(name) == -1
    assert store.number(name) == -1, "the cached answer"


def test_match_is_kept_and_checked() -> None:
    for match in (None, "exact", "identifier"):
        store = KgeStore(path="/nowhere", match=match)
        assert store.match == pickle.loads(pickle.dumps(store)).match == match
    assert KgeStore(path="/nowhere").match is None
    for wrong in ("fuzzy", "", "Exact", True):
        with pytest.raises(UserError, match=f"kge.match={wrong}: must be one of exact, identifier, null"):
            KgeStore(path="/nowhere", match=wrong)  # type: ignore[arg-type]


def test_half_precision(tmp_path: Path) -> None:
    store = KgeStore(path=str(_build(tmp_path, half=True)))
    expected = VECTORS.astype(np.float16)
    assert store.vectors.dtype == np.float16
    gathered = store.gather(np.array([6, 0]))
    assert (gathered.dtype, gathered.tolist()) == (np.dtype("<f2"), expected[[6, 0]].tolist())
    out = np.zeros((1, 5), np.float16)
    assert store.gather(np.array([3]), out=out) is out
    assert out.tolist() == expected[[3]].tolist()
    assert store.gather(np.array([], np.int64)).dtype == np.float16
    assert [store.number(name) for name in NAMES] == list(range(7))


def test_gather_converts_nothing_by_the_way(store: KgeStore) -> None:
    with pytest.raises(TypeError, match="gather into float16, where the store has float32"):
        store.gather(np.array([0]), out=np.zeros((1, 5), np.float16))


def test_the_arrays_are_plain_read_only_views(store: KgeStore) -> None:
    for array in (store.vectors, store.walks, store.walk(0)):
        assert type(array) is np.ndarray
        assert not array.flags.writeable


def test_gather(store: KgeStore) -> None:
    numbers = np.array([6, 0, 0, 3])
    np.testing.assert_array_equal(store.gather(numbers), VECTORS[numbers])
    out = np.zeros((4, 5), np.float32)
    assert store.gather(numbers.astype(np.int32), out=out) is out
    np.testing.assert_array_equal(out, VECTORS[numbers])
    assert store.gather(np.array([], np.int64)).shape == (0, 5)


@pytest.mark.parametrize("wrong", [-1, 7, 2**40])
def test_numbers_outside_the_graph_are_refused(store: KgeStore, wrong: int) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: store.gather(np.array([0, wrong])),
        lambda: store.walk(wrong),
        lambda: store.name(wrong),
    ]
    for call in calls:
        with pytest.raises(IndexError, match=f"no node {wrong}"):
            call()


def test_the_cache_is_bounded_and_dies_with_its_store(good: Path) -> None:
    store = KgeStore(path=str(good))
    for number in range(20_000):
        store.number(f"unknown {number}")
        store.identified(f"unknown {number}")
    caches = [found for found in gc.get_objects() if isinstance(found, _lru_cache_wrapper)]
    assert sum(cache.cache_info().currsize == 16_384 for cache in caches) >= 2
    alive = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert alive() is None, "a cache that holds its store is a cycle around the map"
    finally:
        gc.enable()


def test_a_long_name_is_not_remembered(store: KgeStore) -> None:
    """Memory must not follow the input: sixteen thousand names of a megabyte would be sixteen gigabytes."""
    store.number("A")
    tracemalloc.start()
    try:
        for number in range(100):
            store.number(f"{number}" + 100_000 * "x")
            store.identified(f"{number}" + 100_000 * "x ! ")
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_only_the_path_is_pickled(store: KgeStore) -> None:
    store.number("NA")
    store.gather(np.array([1]))
    payload = pickle.dumps(store)
    assert len(payload) < 500
    np.testing.assert_array_equal(pickle.loads(payload).vectors, VECTORS)


@pytest.mark.process
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_other_processes_read_the_same(store: KgeStore, method: str) -> None:
    store.gather(np.array([0]))  # open here first: a fork inherits the map
    with multiprocessing.get_context(method).Pool(2) as pool:
        for name, vector in pool.map(_read, [(store, number) for number in range(7)]):
            np.testing.assert_array_equal(vector, VECTORS[NAMES.index(name)])


def _read(job: tuple[KgeStore, int]) -> tuple[str, NDArray[np.float32]]:
    store, number = job
    return store.name(store.number(store.name(number))), store.gather(np.array([number]))[0]


def test_nothing_is_opened_by_the_constructor() -> None:
    store = KgeStore(path="/nowhere/kge.h5")
    with pytest.raises(UserError, match=r"/nowhere/kge.h5: no such file"):
        store.number("A")


@pytest.mark.parametrize(
    ("name", "index", "value", "use"),
    [
        ("walks", (0, 1), 7, lambda store: store.walk(0)),
        ("walks", (0, 1), -2, lambda store: store.walk(0)),
        ("name_offsets", 1, -1, lambda store: store.name(0)),
        ("name_offsets", 1, 2**60, lambda store: store.name(0)),
        ("name_offsets", 0, 2**60, lambda store: store.number(NAMES[0])),
        ("names", 0, 0xFF, lambda store: store.name(0)),
        ("hash_order", slice(None), -1, lambda store: store.number("NA")),
        ("hash_order", slice(None), 7, lambda store: store.number("NA")),
        ("hash_order", slice(None), 0, lambda store: store.number("NA")),
        ("hashes", slice(None), name_hash(b"x"), lambda store: store.number("x")),
        ("identifier_order", slice(None), -1, lambda store: store.identified("NA")),
        ("identifier_order", slice(None), 7, lambda store: store.identified("NA")),
        ("identifier_order", slice(None), 0, lambda store: store.identified("NA")),
        ("identifier_hashes", slice(None), name_hash(b"x"), lambda store: store.identified("x")),
        ("name_offsets", 0, 2**60, lambda store: store.identified(NAMES[0])),
    ],
)
def test_damage_that_shows_where_it_is_used(
    good: Path, tmp_path: Path, name: str, index: Any, value: int, use: Callable[[KgeStore], object]
) -> None:
    shutil.copy(good, tmp_path / "bad.h5")
    with h5py.File(tmp_path / "bad.h5", "r+") as file:
        file[name][index] = value
    with pytest.raises(UserError, match="the KGE store is damaged"):
        use(KgeStore(path=str(tmp_path / "bad.h5")))


def test_a_store_that_is_replaced_stays_what_it_was(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "kge.h5"
    shutil.copy(good, path)
    store = KgeStore(path=str(path))
    assert math.isfinite(store.vectors[0, 0])
    (tmp_path / "new").write_text("something else")
    (tmp_path / "new").replace(path)
    np.testing.assert_array_equal(store.vectors, VECTORS)


def test_without_torch(tmp_path: Path) -> None:
    """Workers and tools import the store: it must not cost them the five seconds of torch."""
    code = "import sys, stonkgs.kge.store, stonkgs.kge.build; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert (
        os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(root)})
        == 0
    )
