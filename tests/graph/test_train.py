"""From triples to a store: what it holds, what it leaves out, and what is no store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import file_size_limit
from graph_triples import Rows, Triple
from small_method import Relational, Spectral

from stonkgs.errors import UserError
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.method import Method
from stonkgs.graph.train import TrainedStore, train_store
from stonkgs.kge.store import KgeStore
from stonkgs.protocol import TEST, Grouped
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement

#: A ring of 20 nodes with the next two, and a self-loop of a 21st.
RING: list[Triple] = [(f"n{a}", ("is", "of")[a % 2], f"n{(a + step) % 20}") for a in range(20) for step in (1, 2)]
RING.append(("alone", "is", "alone"))


def learned(path: Path, method: Method | None = None, rows: Rows | None = None, **settings: Any) -> TrainedStore:
    settings = {"without": LeaveOut(), "output": str(path / "kge.h5"), **settings}
    return train_store(triples=rows or Rows.of(RING), method=method or Spectral(), **settings)


def test_the_store_holds_what_was_learned_from_all_edges(tmp_path: Path) -> None:
    method = Spectral()
    result = learned(tmp_path, method, half=False)
    part, whole = method.seen
    assert len(part) == 36
    assert part < whole
    store = KgeStore(path=result.output)
    assert [store.name(number) for number in range(store.nodes)][:3] == ["n0", "n1", "n2"]
    assert (store.nodes, store.dimension, store.walk_length) == (21, 4, 3)
    assert store.walk(store.number("alone")).tolist() == [-1, -1, -1]
    assert (store.vectors[store.number("alone")] == 0).all()
    assert store.walk(store.number("n0")).tolist() == [store.number("n1")] * 3
    origin = json.loads(store.header.origin)
    assert origin == json.loads(json.dumps(result.origin))
    assert origin["graph"].items() >= {"nodes": 21, "edges": 40, "triples": 41, "self_loops": 1}.items()
    assert origin["settings"] == {"dimension": 4, "walk_length": 3, "scale": 1.0}
    assert origin["links"]["edges"] == 4
    assert [*tmp_path.iterdir()] == [tmp_path / "kge.h5"]
    for words in ("21 nodes of 4 floats", "40 edges", "degree-matched", "logistic regression on", "hits@10 of 101"):
        assert words in str(result)


def test_equal_settings_give_equal_files(tmp_path: Path) -> None:
    results = [learned(tmp_path, output=str(tmp_path / name)) for name in ("a.h5", "b.h5")]
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert results[0].digest == results[1].digest
    assert learned(tmp_path, held_out=0.0).origin["links"] is None


def test_half_precision_and_relations(tmp_path: Path) -> None:
    result = learned(tmp_path, Relational(), half=True)
    store = KgeStore(path=result.output)
    assert store.vectors.dtype == np.float16
    assert store.nodes == result.nodes == 23
    assert [store.number(name) for name in ("is", "of")] == [21, 22]
    assert (store.vectors[21:] == 1).all()
    assert (store.walks[21:] == -1).all()


LABELLED = [(f"n{n % 20}", f"n{(n + 1) % 20}", f"text {n}", str(n % 15)) for n in range(60)]


PROTOCOL = Grouped(by="pmid", folds=5, fold=1)
#: A paper that is not tested.
UNTESTED = next(
    name for n in range(99) if PROTOCOL.part(Statement("", "", "", {"pmid": (name := f"new{n}")}), 0) != TEST
)


def statements(*more: Statement) -> Rows:
    """The ring by rows of papers, and rows that are not of it."""
    rows = [Statement(s, t, e, {"pmid": pmid, "label": "x"}) for s, t, e, pmid in LABELLED]
    rows += [Statement("n0", "n5", "", {"pmid": UNTESTED, "label": "x"}), *more]
    made = Rows(rows, ("source", "target", "evidence", "pmid", "label"))
    made.relation = None
    return made


def rows_that_are_tested() -> list[Statement]:
    rows = [row for row in statements().rows({}) if isinstance(row, Statement)]  # type: ignore[arg-type]
    return [row for row in rows if PROTOCOL.part(row, 0) == TEST]


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_strict_graph_has_no_edge_that_only_tested_rows_state(tmp_path: Path, pairs: bool, own: bool) -> None:
    labelled = [["source", "target", "evidence", "pmid"], *map(list, LABELLED)]
    (tmp_path / "rows.tsv").write_text("".join("\t".join(row) + "\n" for row in labelled))
    tested = rows_that_are_tested()
    about = {frozenset((row.source, row.target)) for row in tested}
    extra = [Statement(tested[0].target, tested[0].source, "", {"pmid": UNTESTED, "label": "x"})]
    extra.append(Statement("n1", "n9", "", {"pmid": UNTESTED, "label": "corrected"}))
    source = None if own else TsvSource(path=tmp_path / "rows.tsv")
    without = LeaveOut(protocol=PROTOCOL, source=source, pairs=pairs, where={"label": "corrected"})
    method = Spectral()
    result = learned(tmp_path, method, statements(*extra), without=without, held_out=0.0)
    (edges,) = method.seen
    rows = [row for row in statements(*extra).rows({}) if isinstance(row, Statement)]  # type: ignore[arg-type]
    kept = [row for row in rows if PROTOCOL.part(row, 0) != TEST and row.extra["label"] == "x"]
    others = {frozenset((row.source, row.target)) for row in kept}
    assert edges == {pair for pair in others if not (pairs and pair in about)}
    assert bool(edges & about) is not pairs
    record = result.origin["without"]
    assert (record["pairs_tested"], record["pairs_stated"]) == (len(about), 0 if pairs else len(about & others))
    assert result.origin["graph"]["left_out"]["where"] == 1
    assert result.origin["graph"]["left_out"]["group"] == len(tested)
    assert record["division"].items() >= PROTOCOL.division.items()
    assert "left out for  the test part: grouped by pmid, fold 2 of 5" in str(result)


@pytest.mark.parametrize(
    ("method", "settings", "line"),
    [
        (
            Spectral(scale=np.nan),
            {},
            r"^method=spectral: the vector of node 0 .* not finite after the training; lower",
        ),
        (Spectral(scale=1e300), {"held_out": 0.0}, r"method\.scale=1e\+300"),
        (Spectral(scale=1e9), {"half": True, "held_out": 0.0}, r"too large for float16; train without --half"),
        (Relational(), {"rows": Rows.of([*RING, ("of", "is", "n1")])}, r"a relation and a node are both called 'of'"),
        (Relational(), {"rows": Rows.of([*RING, ("a", "", "n1")])}, r"a relation has no name"),
        (None, {"rows": Rows.of([("a", "is", "a")])}, r"only one node"),
        (None, {"rows": Rows.of([])}, r"the graph is empty"),
        (
            None,
            {"without": LeaveOut(where={"relation": [f"{n:0100}" for n in range(999)]}), "rows": None},
            r"no column",
        ),
    ],
)
def test_one_line_each_and_nothing_is_left(
    tmp_path: Path, method: Method | None, settings: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line) as caught:
        learned(tmp_path, method, **settings)
    assert "\n" not in str(caught.value)
    assert [*tmp_path.iterdir()] == []


def test_an_origin_that_does_not_fit(tmp_path: Path) -> None:
    rows = Rows((Statement(s, t, "", {"relation": r}) for s, r, t in RING), ("source", "target", "relation"))
    many: Sequence[str] = [f"{n:0100}" for n in range(999)]
    with pytest.raises(UserError, match=r"^without: the store cannot hold so many values"):
        learned(tmp_path, rows=rows, without=LeaveOut(where={"relation": many}))


def test_an_interrupted_training_leaves_the_old_store(tmp_path: Path) -> None:
    class Interrupted(Spectral):
        def learn(self, *_: Any) -> None:
            raise KeyboardInterrupt

    before = learned(tmp_path)
    with pytest.raises(UserError, match="exists; name another output"):
        learned(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path, Interrupted(), overwrite=True)
    assert KgeStore(path=tmp_path / "kge.h5").digest == before.digest
    assert [*tmp_path.iterdir()] == [tmp_path / "kge.h5"]


@pytest.mark.parametrize("size", [100, 4096])
def test_a_full_disk_leaves_nothing(tmp_path: Path, size: int) -> None:
    with file_size_limit(size), pytest.raises(UserError, match=r"kge\.h5: cannot be written \(File too large\)"):
        learned(tmp_path)
    assert [*tmp_path.iterdir()] == []
