"""The graph half."""

from pathlib import Path

import numpy as np

from stonkgs.encode.walks import MASK, SEPARATOR, UNKNOWN, graph_half, vector_rows
from stonkgs.kge.store import KgeStore


def numbers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


def test_the_published_shift() -> None:
    """The table of the first implementation's defect, row by row."""
    given = numbers(0, 99, 100, 101, 102, 103, 104, 105, 399, UNKNOWN, SEPARATOR)
    wanted = [0, 99, UNKNOWN, 100, SEPARATOR, MASK, 101, 102, 396, UNKNOWN, SEPARATOR]
    assert vector_rows(given, legacy_node_shift=True).tolist() == wanted
    assert vector_rows(given, legacy_node_shift=False).tolist() == given.tolist()


def test_halves_unknown_nodes_and_nodes_without_a_walk(kge_path: Path) -> None:
    kge = KgeStore(path=str(kge_path))
    length, last = kge.walk_length, kge.nodes - 1
    half = graph_half(kge, 1, -1).tolist()
    assert half == [*kge.walk(1), SEPARATOR, *[UNKNOWN] * length, SEPARATOR]
    assert graph_half(kge, last, 1).tolist()[:length] == [UNKNOWN] * length
