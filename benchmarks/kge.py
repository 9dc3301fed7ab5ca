"""What a gather from the memory-mapped store costs, beside RAM and beside h5py: the median of paired rounds.

python benchmarks/kge.py --nodes 200000 --dimension 768
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from synthetic import write_store

from stonkgs.kge.store import KgeStore

#: distinct nodes of one statement: two walks of 127
ROWS = 254
WALK_LENGTH = 127
#: gathers of one round, and of one round through h5py
GATHERS, SLOW_GATHERS = 200, 4


def main() -> None:
    """Build a store in a temporary folder, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure gathers")
    parser.add_argument("--folder", help="where to put the store; the system's temporary folder by default")
    parser.add_argument("--half", action="store_true", help="vectors as float16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = str(Path(folder) / "kge.h5")
        started = time.perf_counter()
        sizes = {"nodes": arguments.nodes, "dimension": arguments.dimension, "walk_length": WALK_LENGTH}
        write_store(Path(path), **sizes, half=arguments.half)
        size = Path(path).stat().st_size / 1e6
        print(f"{arguments.nodes:,} x {arguments.dimension}, {size:,.0f} MB, {time.perf_counter() - started:.1f} s")
        measure_gathers(path, arguments.seconds)
        measure_opening(path)
        measure_lookups(path)


def measure_gathers(path: str, seconds: float) -> None:
    """Rounds of RAM, store and h5py one after the other on the same rows; ratios are taken within a round."""
    store = KgeStore(path=path)
    in_memory = np.array(store.vectors)
    out = np.empty((ROWS, store.dimension), store.vectors.dtype)
    assert (store.gather(np.arange(store.nodes)[:ROWS]) == in_memory[:ROWS]).all()
    random = np.random.default_rng(1)
    with h5py.File(path, "r") as file:
        ways: dict[str, Callable[[NDArray[np.int64]], Any]] = {
            "RAM, np.take": lambda rows: np.take(in_memory, rows, axis=0),
            "store, gather": store.gather,
            "RAM, np.take to out": lambda rows: np.take(in_memory, rows, axis=0, out=out, mode="clip"),
            "store, gather to out": lambda rows: store.gather(rows, out=out),
            "h5py, contiguous": lambda rows: file["vectors"][np.sort(rows)],
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(rates["RAM, np.take"]) < 3:
            picks = [random.choice(store.nodes, ROWS, replace=False) for _ in range(GATHERS)]
            for name in _turned(list(ways), len(rates["RAM, np.take"])):
                count = SLOW_GATHERS if name.startswith("h5py") else GATHERS
                rates[name].append(count / _seconds(ways[name], picks[:count]))
    _print_rates({name: values[1:] for name, values in rates.items()})  # the first round warms up


def _turned(names: list[str], turn: int) -> list[str]:
    # Who comes first finds the caches as another left them: everyone takes every place.
    return names[turn % len(names) :] + names[: turn % len(names)]


def _print_rates(rates: dict[str, list[float]]) -> None:
    title = f"gather of {ROWS} rows"
    print(f"\n{title:22} {'statements/s':>14} {'of RAM':>8}  ({len(rates['RAM, np.take'])} rounds)")
    for name, values in rates.items():
        reference = rates["RAM, np.take to out" if name.endswith("out") else "RAM, np.take"]
        ratio = statistics.median(mine / ram for mine, ram in zip(values, reference, strict=True))
        print(f"{name:22} {statistics.median(values):14,.0f} {ratio:8.3f}")


def measure_opening(path: str) -> None:
    """From the constructor to the first vector."""

    def open_once(_: int) -> None:
        KgeStore(path=path).gather(np.array([0]))

    times = [_seconds(open_once, [0]) for _ in range(20)]
    print(f"\nopening, first {times[0] * 1e3:.1f} ms, median {statistics.median(times) * 1e3:.2f} ms")


def measure_lookups(path: str) -> None:
    """Names to numbers, none of them asked for before, and all of them asked for again; then names without a node."""
    store = KgeStore(path=path)
    picks = np.random.default_rng(2).choice(store.nodes, min(10_000, store.nodes), replace=False)
    names = [store.name(int(number)) for number in picks]
    assert [store.number(name) for name in names[:100]] == picks[:100].tolist()
    unknown = [f"p(X:{number} ! nobody)" for number in picks]
    for way in (store.number, store.identified):
        micro = [_seconds(way, asked) / len(names) * 1e6 for asked in (names, names, unknown)]
        print("{}: new {:.2f} us, cached {:.2f} us, unknown {:.2f} us".format(way.__name__, *micro))
    print(f"walks/s {len(picks) / _seconds(store.walk, picks.tolist()):,.0f}")


def _seconds(call: Callable[[Any], Any], items: list[Any]) -> float:
    started = time.perf_counter()
    for item in items:
        call(item)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
