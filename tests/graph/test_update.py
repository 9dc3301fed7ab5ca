"""Growing a store: what was there stays to the bit, and new nodes get vectors and walks from their neighbours."""

import json
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_graphs import graph_of
from synthetic import write_model, write_store

from stonkgs.cli.kge import main
from stonkgs.encode.nodes import Nodes
from stonkgs.encode.walks import Walks
from stonkgs.errors import UserError
from stonkgs.graph import grow
from stonkgs.graph.grow import Growth
from stonkgs.graph.links import MATCHED, UNIFORM
from stonkgs.graph.update import _rule
from stonkgs.graph.walks import WalkRule
from stonkgs.graph.words import origin_words
from stonkgs.kge.build import build
from stonkgs.kge.lineage import GROWN, lineage_of
from stonkgs.kge.shift import vector_rows
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.protocol import TEST, Grouped
from stonkgs.statement import Statement

#: How many nodes the small store has, how long a vector is, and a walk.
OLD, WIDTH, LENGTH = 110, 4, 6


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of nodes old0 to old109 in a ring, walks along it; the last has neither vector nor walk."""
    folder = tmp_path_factory.mktemp("old")
    vectors = np.random.default_rng(0).standard_normal((OLD, WIDTH))
    vectors[-1] = 0
    rows = [[f"{value:.6g}" for value in row] for row in vectors]
    (folder / "v.tsv").write_text("".join("\t".join([f"old{node}", *row]) + "\n" for node, row in enumerate(rows)))
    walks = ([f"old{(node + step) % (OLD - 1)}" for step in range(LENGTH)] for node in range(OLD - 1))
    (folder / "w.tsv").write_text("".join("\t".join([f"old{node}", *walk]) + "\n" for node, walk in enumerate(walks)))
    build(vectors=str(folder / "v.tsv"), walks=str(folder / "w.tsv"), output=str(folder / "kge.h5"))
    return folder / "kge.h5"


def grown(store: Path, folder: Path, triples: list[tuple[str, str]], *options: str, name: str = "grown.h5") -> KgeStore:
    """The store, grown on the command line."""
    (folder / "new.tsv").write_text("".join(f"{source}\tr\t{target}\n" for source, target in triples))
    output = str(folder / name)
    assert main(["update", str(store), "--triples", str(folder / "new.tsv"), "--output", output, *options]) == 0
    return KgeStore(path=output)


def usual(store: KgeStore) -> float:
    """The length that vectors of the small store usually have."""
    return float(np.sqrt((store.vectors[: OLD - 1] ** 2).sum(axis=1).mean()))


def directed(length: float, *vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The direction of a mean, with a length."""
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / np.linalg.norm(mean) * length)


NEW = [
    ("a", "old3"),
    ("old7", "a"),
    ("b", "a"),
    ("c", "b"),
    ("a", "d"),
    ("d", "old9"),
    ("x", "y"),
    ("z", "z"),
    ("e", "old109"),
]


def test_what_was_there_stays_to_the_bit(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = KgeStore(path=str(small)), grown(small, tmp_path, NEW)
    assert after.nodes == OLD + 8
    assert after.vectors[:OLD].tobytes() == before.vectors.tobytes()
    assert after.walks[:OLD].tobytes() == before.walks.tobytes()
    assert all(after.number(before.name(node)) == node for node in range(OLD))
    assert [after.name(node) for node in range(OLD, after.nodes)] == ["a", "b", "c", "d", "x", "y", "z", "e"]
    assert all(after.number(after.name(node)) == node for node in range(OLD, after.nodes))
    said = capsys.readouterr().out
    assert "8 of them new" in said
    assert "unknown before: 66.7% of the nodes of these triples" in said  # 8 of 12
    assert "4 new nodes without a vector" in said
    assert "1 without a walk" in said


def test_vectors_come_from_the_neighbours_step_by_step(small: Path, tmp_path: Path) -> None:
    before, after = KgeStore(path=str(small)), grown(small, tmp_path, NEW)
    old, length = before.vectors, usual(before)
    found = {name: after.vectors[after.number(name)] for name in "abcdexyz"}
    # d is a known node's neighbour too, and so does not count for a.
    assert np.allclose(found["a"], directed(length, old[3], old[7]), atol=1e-5)
    assert np.allclose(found["d"], old[9] / np.linalg.norm(old[9]) * length, atol=1e-5)
    assert np.allclose(found["b"], found["a"], atol=1e-5)
    assert np.allclose(found["c"], found["a"], atol=1e-5)
    for name in "xyze":  # x, y, z know nobody, and e a node without a vector
        assert not found[name].any()


def test_walks_start_at_their_node_and_go_on_along_known_ones(small: Path, tmp_path: Path) -> None:
    before, after = KgeStore(path=str(small)), grown(small, tmp_path, NEW)
    edges = {(after.number(a), after.number(b)) for pair in NEW for a, b in (pair, pair[::-1]) if a != b}
    for node in range(OLD, after.nodes):
        walk = after.walk(node).tolist()
        if after.name(node) == "z":
            assert walk == [-1] * LENGTH
            continue
        assert walk[0] == node
        met = [place for place, other in enumerate(walk) if other < OLD - 1]
        first = met[0] if met else LENGTH - 1
        assert all(step in edges for step in pairwise(walk[: first + 1]))
        if met:
            assert walk[first:] == before.walk(walk[first]).tolist()[: LENGTH - first]


def test_equal_input_gives_equal_files(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = grown(small, tmp_path, NEW, name="a.h5")
    monkeypatch.setattr(grow, "NUMBERS", 2)
    monkeypatch.setattr(grow, "BLOCK", 2)
    assert grown(small, tmp_path, NEW, name="b.h5").digest == first.digest


def test_a_grown_store_grows_on_and_says_from_what(small: Path, tmp_path: Path) -> None:
    before = KgeStore(path=str(small))
    once = grown(small, tmp_path, NEW)
    twice = grown(Path(once.path), tmp_path, [("f", "a")], name="twice.h5")
    ancestors = lineage_of(twice.header.origin).ancestors
    assert ancestors == ((before.digest, before.nodes), (once.digest, once.nodes))
    assert twice.vectors[: once.nodes].tobytes() == once.vectors.tobytes()
    assert np.allclose(
        directed(1, twice.vectors[twice.number("f")]), directed(1, once.vectors[once.number("a")]), atol=1e-5
    )


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=30), st.integers(1, 20))
def test_each_new_node_that_reaches_a_known_one_has_a_vector(edges: list[tuple[int, int]], size: int) -> None:
    """Of twelve nodes the first four are known; `size` bounds what is added up at a time, and changes nothing."""
    graph, numbers = graph_of(12, edges), np.arange(12)
    filled = []
    for numbers_at_a_time in (size, 1 << 22):
        vectors = np.zeros((12, 3), np.float32)
        vectors[:4] = np.random.default_rng(1).standard_normal((4, 3))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grow, "NUMBERS", numbers_at_a_time)
            without = Growth(graph, numbers, numbers, 4).fill_vectors(vectors)
        filled.append(vectors)
    reached = {0, 1, 2, 3}
    while more := {b for pair in edges for a, b in (pair, pair[::-1]) if a in reached and b not in reached}:
        reached |= more
    assert np.flatnonzero(vectors.any(axis=1)).tolist() == sorted(reached)
    assert without == 12 - len(reached)
    assert np.allclose(filled[0], filled[1], atol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 6e4])
def test_vectors_that_are_not_finite_or_too_large_give_one_line(wrong: float) -> None:
    numbers, vectors = np.arange(4), np.full((4, 3), wrong, np.float16)
    with pytest.raises(UserError, match="vectors of the store are not finite numbers, or are too large"):
        Growth(graph_of(4, [(0, 1), (1, 3)]), numbers, numbers, 3).fill_vectors(_one_direction(vectors))


def _one_direction(vectors: NDArray[np.float16]) -> NDArray[np.float16]:
    """The same, where node 1 has a vector along one axis: a new one of the usual length is longer in that direction."""
    vectors[1, 1:] = 0
    return vectors


def test_with_the_shift_new_vectors_stand_where_models_read_them(small: Path, tmp_path: Path) -> None:
    before, after = KgeStore(path=str(small)), grown(small, tmp_path, NEW, "--legacy-node-shift")
    assert after.nodes == OLD + 3 + 8
    assert after.vectors[:OLD].tobytes() == before.vectors.tobytes()
    assert after.walks[:OLD].tobytes() == before.walks.tobytes()
    read = Walks(Nodes(after), legacy_node_shift=True)

    def as_read(name: str) -> NDArray[np.float32]:
        vectors = read.vectors(vector_rows(np.array([after.number(name)], np.int32), legacy_node_shift=True))
        return np.asarray(vectors[0])

    assert np.allclose(as_read("a"), directed(usual(before), as_read("old3"), as_read("old7")), atol=1e-5)
    assert np.allclose(as_read("c"), as_read("a"), atol=1e-5)
    # The walk from e comes to old109, and the model reads the vector of old106 there.
    assert np.allclose(as_read("e"), directed(usual(before), before.vectors[106]), atol=1e-5)
    assert not as_read("x").any()
    half = read.encode([Statement("a", "e", "")])[0]
    assert half[0] == after.number("a") - 3


def test_a_model_of_the_first_store_takes_what_has_grown_from_it_and_another_does_not(
    small: Path, tmp_path: Path
) -> None:
    before = KgeStore(path=str(small))
    write_model(tmp_path / "plain", hidden=WIDTH, layers=1, text_length=16, walk_length=LENGTH)
    STonKGs.from_pretrained(str(tmp_path / "plain")).save_pretrained(tmp_path / "model", kge=before)
    model = STonKGs.from_pretrained(str(tmp_path / "model"))
    once = grown(small, tmp_path, NEW)
    twice = grown(Path(once.path), tmp_path, [("f", "a")], name="twice.h5")
    rows = [Statement("old1", "old2", "one two"), Statement("f", "old9", "three")]
    found = [Predictor(model, store).predict(rows) for store in (before, once, twice)]
    assert [[row.source_known for row in answers] for answers in found] == [[True, False], [True, False], [True, True]]
    assert found[0][0].probabilities == found[1][0].probabilities == found[2][0].probabilities
    other = write_store(tmp_path / "other.h5", nodes=OLD, dimension=WIDTH, walk_length=LENGTH)
    known = KgeStore(path=str(other)).name(5)
    for store in (KgeStore(path=str(other)), grown(other, tmp_path, [("g", known)], name="of_other.h5")):
        with pytest.raises(UserError, match="the model was trained with"):
            Predictor(model, store)
    shifted = grown(small, tmp_path, NEW, "--legacy-node-shift", name="shifted.h5")
    with pytest.raises(UserError, match=r"has grown for other models.*Grow it without --legacy-node-shift"):
        Predictor(model, shifted)


@pytest.fixture(scope="module")
def published(golden: Path) -> tuple[str, str]:
    """A checkpoint in the published form, and its tokenizer."""
    return str(golden / "upstream" / "checkpoint"), str(golden / "upstream" / "lm_backbone")


def test_a_published_checkpoint_reads_the_new_nodes_and_answers_for_the_others_as_before(
    published: tuple[str, str], golden: Path, golden_kge: Path, tmp_path: Path
) -> None:
    model = STonKGs.from_pretrained(published[0], tokenizer=published[1])
    before = KgeStore(path=str(golden_kge))
    known = before.name(300), before.name(350)
    triples = [("new one", known[0]), ("new one", known[1])]
    after = grown(golden_kge, tmp_path, triples, "--legacy-node-shift")
    rows = [Statement(**json.loads(line)) for line in (golden / "upstream" / "rows.jsonl").open("rb")][:8]
    earlier = [found.probabilities for found in Predictor(model, before).predict(rows)]
    predictor = Predictor(model, after)
    assert [found.probabilities for found in predictor.predict(rows)] == earlier
    (found,) = predictor.predict([Statement("new one", known[0], "a sentence")])
    assert found.source_known
    read = Walks(Nodes(after), legacy_node_shift=True)
    vectors = read.vectors(read.encode([Statement("new one", known[0], "")])[0])
    both = before.vectors[[297, 347]]  # what this model reads for the two
    assert np.allclose(directed(1, vectors[0]), directed(1, *both), atol=1e-5)
    plain = grown(golden_kge, tmp_path, triples, name="plain.h5")
    with pytest.raises(UserError, match=r"has grown for other models.*Grow it with --legacy-node-shift"):
        Predictor(model, plain)
    assert Predictor(model, plain, any_kge=True)


@pytest.mark.parametrize(
    ("triples", "options", "message"),
    [
        ([("old1", "old2")], [], "has all 2 nodes of these triples already"),
        ([("new", "new")], [], "only one node"),
        ([("new", "old1")], ["--output", "old.h5"], "is one of the inputs"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    small: Path, tmp_path: Path, triples: list[tuple[str, str]], options: list[str], message: str
) -> None:
    store = tmp_path / "old.h5"
    store.write_bytes(small.read_bytes())
    options = [str(store) if option == "old.h5" else option for option in options]
    with pytest.raises(UserError, match=message) as caught:
        grown(store, tmp_path, triples, *options)
    assert "\n" not in str(caught.value)
    assert store.read_bytes() == small.read_bytes()


def test_a_store_grows_on_in_one_way_only(small: Path, tmp_path: Path) -> None:
    shifted = Path(grown(small, tmp_path, NEW, "--legacy-node-shift").path)
    with pytest.raises(UserError, match="has grown with --legacy-node-shift; go on with it"):
        grown(shifted, tmp_path, [("new", "a")], name="again.h5")


def test_rows_that_will_be_tested_add_no_node(small: Path, tmp_path: Path) -> None:
    rows = [("old1", f"new{n}", f"{n}") for n in range(20)]
    protocol = Grouped(by="pmid")
    kept = [b for a, b, pmid in rows if protocol.part(Statement(a, b, "", {"pmid": pmid}), 0) != TEST]
    assert 0 < len(kept) < 20
    text = "source\ttarget\tpmid\n" + "".join("\t".join(row) + "\n" for row in rows)
    (tmp_path / "rows.tsv").write_text(text)
    output = str(tmp_path / "grown.h5")
    options = ["without=groups", "protocol.by=pmid", "--output", output]
    assert main(["update", str(small), "--triples", str(tmp_path / "rows.tsv"), *options]) == 0
    store = KgeStore(path=output)
    assert [store.name(node) for node in range(OLD, store.nodes)] == kept
    assert json.loads(store.header.origin)[GROWN]["without"]["own"] is True


@pytest.mark.parametrize("setting", [{"seed": 10**30}, {"seed": -1}, {"walks_per_node": 0}, {"walks_per_node": 5}])
def test_settings_that_are_none_of_a_method_draw_the_usual_walks(setting: dict[str, int]) -> None:
    assert _rule(json.dumps({"settings": {"p": 2.0, **setting}}), LENGTH) == WalkRule(LENGTH, 1, 0)
    assert _rule(json.dumps({"settings": {"p": 2.0, "seed": 3}}), LENGTH) == WalkRule(LENGTH, 1, 3, p=2.0)


@pytest.mark.parametrize("by", [-3, 3])
def test_names_that_end_elsewhere_are_damage(small: Path, tmp_path: Path, by: int) -> None:
    store = tmp_path / "old.h5"
    store.write_bytes(small.read_bytes())
    with h5py.File(store, "r+") as file:
        file["name_offsets"][-1] += by
    with pytest.raises(UserError, match=r"old\.h5: the KGE store is damaged"):
        grown(store, tmp_path, NEW)


@pytest.mark.parametrize("figure", [[], [10**400, 0], {}, "x"])
def test_an_origin_of_somebody_else_is_not_put_into_words(figure: object) -> None:
    graph = dict.fromkeys(
        ("nodes", "edges", "relations", "triples", "rows", "duplicates", "self_loops"), 1
    ) | {"digest": "x", "left_out": {}}  # fmt: skip
    links: dict[str, object] = {"edges": 1, "scorer": "x", UNIFORM: {"auc": [0.5, 0.1]}, MATCHED: {}}
    origin = {"method": "x", "settings": {}, "graph": graph, "without": {}, "links": links}
    assert len(origin_words(origin)) == 8
    links[UNIFORM] = {"auc": figure}
    assert origin_words(origin) == []


@pytest.mark.parametrize(
    "origin",
    ["", "[]", '{"grown": 1}', '{"grown": {"from": [{"digest": "x", "nodes": 3}], "legacy_node_shift": false}}',
     '{"grown": {"from": [{"digest": {}}]}}', '{"grown": {"from": 7, "legacy_node_shift": true}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_origin_names_no_ancestor(origin: str) -> None:
    assert lineage_of(origin).ancestors == ()
