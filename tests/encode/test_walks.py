"""The graph half."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from conftest import HIDDEN, NODES, write_lines

from stonkgs.encode.walks import graph_half
from stonkgs.kge.build import build
from stonkgs.kge.shift import MASK, SEPARATOR, UNKNOWN, vector_rows
from stonkgs.kge.store import KgeStore
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor


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


@pytest.mark.parametrize("architecture", ["stonkgs", "graph_only"])
def test_several_walks_of_a_node_are_one_longer_walk(architecture: str, tmp_path: Path) -> None:
    """A row of the store may hold walks one after the other, each from its node: nothing asks where one ends."""
    random = np.random.default_rng(3)
    walks = {name: [[name, *random.choice(NODES, 3)] for _ in range(3)] for name in NODES}
    write_lines(tmp_path / "v.tsv", [[name, *map(str, random.normal(size=HIDDEN))] for name in NODES])
    write_lines(tmp_path / "w.tsv", [[name, *chain(*three)] for name, three in walks.items()])
    build(vectors=str(tmp_path / "v.tsv"), walks=str(tmp_path / "w.tsv"), output=str(tmp_path / "kge.h5"))
    kge = KgeStore(path=tmp_path / "kge.h5")
    assert [kge.name(node) for node in graph_half(kge, 1, -1)[:12]] == [*chain(*walks[NODES[1]])]
    model = Fresh(architecture=architecture, num_layers=1, words=100).make(kge, lambda: iter(["a b"]), tmp_path)
    model.with_classes(("x", "y")).save_pretrained(tmp_path / "model", kge=kge)
    assert (model.config.walk_length, model.config.graph_length) == (12, 26)
    found = Predictor(Network.from_pretrained(tmp_path / "model"), kge).predict([(NODES[1], NODES[2], "a")])
    assert sum(found[0].probabilities.values()) == pytest.approx(1)
