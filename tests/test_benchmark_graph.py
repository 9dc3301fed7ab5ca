"""The store that benchmarks make of a corpus's own graph."""

import gzip
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
from graph import embed, read_graph, walk, write_graph_store

from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore

#: 12 nodes of each of two communities, one with a quoted name; all neighbours inside them, and one edge between.
COMMUNITIES = [[f'a(NS:"{side}{number}")' for number in range(12)] for side in "xy"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The communities as pandas writes them, each pair twice and with a label; a node alone, and rows of no use."""
    pairs = [pair for nodes in COMMUNITIES for pair in combinations(nodes, 2)]
    pairs += [(COMMUNITIES[0][0], COMMUNITIES[1][0]), ("alone", "alone"), ("nobody", ""), ("", ""), ("a\tb", "c\nd")]
    quoted = ["\t".join('"{}"'.format(name.replace('"', '""')) for name in pair) for pair in pairs]
    lines = ["label\tsource\ttarget\n", *(f'"up\nor down"\t{pair}\n' for pair in quoted * 2)]
    path = tmp_path / "corpus.tsv.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def test_only_the_pairs_count(corpus: Path) -> None:
    names, edges = read_graph([corpus, corpus])
    assert names == sorted([*COMMUNITIES[0], *COMMUNITIES[1], "alone"])
    dense = edges.toarray()
    assert set(np.unique(dense)) == {0, 1}
    assert (dense == dense.T).all()
    assert dense.sum() == 2 * (2 * 66 + 1)
    assert not dense[names.index("alone")].any()


def test_communities_are_near(corpus: Path, tmp_path: Path) -> None:
    """A store whose vectors' angles tell who is of one community."""
    store = KgeStore(path=write_graph_store([corpus], tmp_path / "kge.h5", dimension=4, walk_length=6))
    assert (store.nodes, store.dimension, store.walk_length) == (25, 4, 6)
    sides = [store.vectors[[store.number(name) for name in nodes]] for nodes in COMMUNITIES]
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    assert min((x @ x.T).min(), (y @ y.T).min()) > (x @ y.T).max() + 0.3
    assert np.mean(np.square(store.vectors)) == pytest.approx(1, rel=1e-4)


def test_walks_follow_edges(corpus: Path) -> None:
    names, edges = read_graph([corpus])
    walks = walk(edges, 20, seed=0)
    assert walks[:, 0].tolist() == list(range(len(names)))
    alone = names.index("alone")
    assert set(walks[alone]) == {alone}
    others = np.delete(walks, alone, axis=0)
    assert edges.toarray()[others[:, :-1], others[:, 1:]].all()
    assert len(np.unique(others)) == len(names) - 1


def test_the_same_again(corpus: Path, tmp_path: Path) -> None:
    paths = [write_graph_store([corpus], tmp_path / f"{n}.h5", dimension=4, seed=n // 2) for n in range(3)]
    digests = [KgeStore(path=path).digest for path in paths]
    assert digests[0] == digests[1] != digests[2]


def test_too_few_nodes(corpus: Path) -> None:
    with pytest.raises(UserError, match="25 nodes, too few for 25"):
        embed(read_graph([corpus])[1], 25, seed=0)


def test_a_real_graph(corpora: Path, tmp_path: Path) -> None:
    """Neighbours are nearer to each other than nodes drawn at random are."""
    path = corpora / "indra_hbp_edges.tsv.gz"
    names, edges = read_graph([path])
    store = KgeStore(path=write_graph_store([path], tmp_path / "kge.h5", dimension=32))
    assert store.nodes == len(names) == 7598
    vectors = store.vectors[[store.number(name) for name in names]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start, stop = edges.nonzero()
    near = (vectors[start] * vectors[stop]).sum(axis=1).mean()
    anyhow = (vectors[start] * vectors[np.random.default_rng(0).permutation(stop)]).sum(axis=1).mean()
    assert near > anyhow + 0.2
