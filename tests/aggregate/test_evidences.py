"""Rows of one evidence: INDRA's statements of several edges give one an edge and evidence."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from aggregated import EVIDENCE, KINDS, Row, check_same, mean, plain, read, write
from conftest import LABELS
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.aggregate import aggregate
from stonkgs.cli import main

#: Of few values, so that rows agree; probabilities of 1, whose logarithm there is none of, among them.
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "stmt_hash": st.integers(-2, 2),
            "source": st.sampled_from(["a", "b", None]),
            "target": st.sampled_from(["a", "b", None]),
            "stmt_type": st.sampled_from(["x", "y", None]),
            EVIDENCE: st.sampled_from([None, 0, 1, -(2**63), 2**63 - 1]),
            "incorrect": st.floats(0, 1, width=32),
            "correct": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA = pa.schema(
    [
        *[("stmt_hash", pa.int64()), ("source", pa.string()), ("target", pa.string()), ("stmt_type", pa.string())],
        *[(EVIDENCE, pa.int64()), ("incorrect", pa.float32()), ("correct", pa.float32())],
    ]
)


@settings(max_examples=25, deadline=None)
@given(
    rows=ROWS,
    shuffled=st.randoms(use_true_random=False),
    by=st.sampled_from([["stmt_hash"], ["target", "source"], ["stmt_hash", EVIDENCE], ["target"]]),
)
def test_any_rows(
    by: list[str], rows: list[Row], shuffled: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As plainly computed, and the same to the bit in any order."""
    folder = tmp_path_factory.mktemp("evidences")
    wanted, contents = plain(rows, by), set()
    for _ in range(2):
        place = write(folder / "p.parquet", pa.Table.from_pylist(rows, SCHEMA))
        if wanted:
            aggregate(place, by=by, classes=LABELS, overwrite=True)
            contents.add((folder / "statements.parquet").read_bytes())
        shuffled.shuffle(rows)
    assert len(contents) == bool(wanted)
    if wanted:
        check_same(*(without_prediction(found) for found in (read(folder / "statements.parquet"), wanted)))


def without_prediction(rows: list[Row]) -> list[Row]:
    """What is said of several classes: see test_values.py."""
    return [{name: value for name, value in row.items() if name != "prediction"} for row in rows]


def test_statements_of_several_edges(tmp_path: Path, model_path: Path, kge_path: Path) -> None:
    """A real run: a form that two modifications make active, in two sentences, one of which says it twice."""
    mods = [{"mod_type": "phosphorylation", "residue": "S", "position": place} for place in ("218", "222")]
    active = {"name": "MAP2K1", "db_refs": {"HGNC": "6840"}, "mods": mods}
    evidence = [{"text": f"Sentence {n}.", "source_api": "reach", EVIDENCE: n} for n in (1, 2)]
    statement = {"type": "ActiveForm", "agent": active, "activity": "kinase", "is_active": True}
    statement |= {"matches_hash": "11", "evidence": evidence}
    (tmp_path / "statements.json").write_text(json.dumps([statement]))
    paths = {"source.path": tmp_path / "statements.json", "output_dir": tmp_path, "model.path": model_path}
    arguments = [f"{key}={path}" for key, path in (paths | {"kge.path": kge_path}).items()]
    assert main(["predict", "source=indra", "writer=parquet", "trainer.accelerator=cpu", *arguments]) == 0
    rows = read(tmp_path / "predictions.parquet")
    assert [(row["stmt_hash"], row[EVIDENCE]) for row in rows] == [(11, 1), (11, 2)] * 2
    assert len({(row["source"], row["target"]) for row in rows}) == 2

    assert main(["aggregate", str(tmp_path)]) == 0
    (found,) = read(tmp_path / "statements.parquet")
    check_same([found], plain(rows, ["stmt_hash"]))
    assert found["evidences"] == 2
    assert found["correct_mean"] == pytest.approx(mean([row["correct"] for row in rows]))
    assert (found["source"], found["target"]) in {(row["source"], row["target"]) for row in rows}
    summary = aggregate(tmp_path, overwrite=True)
    assert (summary.rows, summary.statements, summary.evidences, summary.most, summary.mean) == (4, 1, 2, 2, 2.0)

    aggregate(tmp_path, by=["source", "target"], output=tmp_path / "edges.parquet")
    assert [row["evidences"] for row in read(tmp_path / "edges.parquet")] == [2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_by_hand(tmp_path: Path, kind: str) -> None:
    """Two rows of an evidence, and two that tell none, of a statement; a pair of which neither half is the least."""
    pairs = [("b", "c", 7), ("b", "d", 7), ("c", "a", None), ("d", "a", None)]
    rows = [{"stmt_hash": 1, "source": s, "target": t, EVIDENCE: e, "p": 0.5, "q": 0.5} for s, t, e in pairs]
    place = write(tmp_path / f"p.{kind}", [rows[0] | {"p": 0.25, "q": 0.75}, *rows[1:]])
    summary = aggregate(place, classes=["p", "q"])
    assert (summary.rows, summary.evidences) == (4, 3)
    (found,) = read(tmp_path / "statements.parquet")
    assert (found["source"], found["target"]) == ("b", "c")
    assert found["evidences"] == 3
    assert found["p_mean"] == pytest.approx((0.375 + 0.5 + 0.5) / 3)
    assert found["p_noisy_or"] == pytest.approx(1 - (1 - 0.375) * 0.5 * 0.5)
    assert (found["p_max"], found["q_max"]) == (0.5, 0.75)


@pytest.mark.parametrize(
    ("values", "evidences"),
    [
        (pa.array(["x", "x", "", None]), 3),
        (pa.array([2**64 - 1, 2**64 - 1, 0, None], pa.uint64()), 3),
        (pa.array([None] * 4), 4),
        (pa.array(["x"] * 4).dictionary_encode(), 1),
        (pa.array([1.0, 1.0, 1.0, None]), 4),
        (pa.array([True] * 4), 4),
        (pa.array([[1]] * 4), 4),
    ],
)
def test_what_tells_evidences(tmp_path: Path, values: pa.Array, evidences: int) -> None:
    """Texts do, as whole numbers; a column of anything else is somebody's own."""
    table = pa.table({"stmt_hash": [1] * 4, EVIDENCE: values, "p": [0.5] * 4, "q": [0.5] * 4})
    aggregate(write(tmp_path / "p.parquet", table), classes=["p", "q"])
    assert [row["evidences"] for row in read(tmp_path / "statements.parquet")] == [evidences]
