"""INDRA statements through a whole run, through the rows in memory, and to one figure a statement."""

import gzip
import json
import warnings
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from stonkgs.cli import main
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.source.indra import IndraSource
from stonkgs.statement import Rejection


def agent(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "db_refs": {"HGNC": str(number)}}


def evidence(text: str | None, pmid: str = "7") -> dict[str, Any]:
    return {"source_api": "reach", "pmid": pmid, "text": text, "source_hash": crc32((text or "").encode())}


def activation(stmt_hash: int, *texts: str | None) -> dict[str, Any]:
    found = [evidence(text) for text in texts]
    ends = {"subj": agent("MAP2K1", 6840), "obj": agent("MAPK1", 6871)}
    return {"type": "Activation", **ends, "belief": 0.5, "matches_hash": str(stmt_hash), "evidence": found}


#: Two statements with rows, one of them with an evidence without text; one without by the rules, one that is unsound.
STATEMENTS: list[dict[str, Any]] = [
    activation(11, "One.", "Two.", None),
    {"type": "Complex", "members": [agent("MAP2K1", 6840), agent("MAPK1", 6871)], "evidence": [evidence("Three.")]},
    {"type": "Activation", "subj": {"db_refs": {}}, "obj": agent("MAPK1", 6871), "evidence": [evidence("Four.")]},
    activation(-12, "Five."),
]


class IndraObject:
    """As INDRA's own: an object of a class of its package, that tells its JSON."""

    __module__ = "indra.statements.statements"

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def to_json(self) -> dict[str, Any]:
        """As INDRA's."""
        return self.values


@pytest.fixture
def predictor(model_path: Path, kge_path: Path) -> Predictor:
    return Predictor(Network.from_pretrained(model_path), KgeStore(path=kge_path))


@pytest.mark.parametrize("rows", [1, 100])
def test_a_run_accounts_for_every_statement(
    tmp_path: Path, small_run: list[str], rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the splits: the rows, what gave none and why, and the unsound statement by its index."""
    (tmp_path / "emmaa.gz").write_bytes(gzip.compress(json.dumps(STATEMENTS, indent=1).encode()))
    arguments = [argument for argument in small_run if not argument.startswith("source.path")]
    arguments += ["source=indra", f"source.path={tmp_path / 'emmaa.gz'}", "writer=parquet", f"split.rows={rows}"]
    assert main(["predict", *arguments]) == 0
    result = json.loads((tmp_path / "out" / "run.json").read_text())["result"]
    assert (result["records"], result["predicted"], result["rejected"], result["read"]) == (4, 3, 1, 4)
    assert result["without_row"] == {"Complex": 1, "evidence without text": 1}
    (rejected,) = map(json.loads, (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    assert rejected["index"] == 2
    assert json.loads(rejected["raw"])["evidence"][0]["text"] == "Four."
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["evidence"] for row in table] == ["One.", "Two.", "Five."]
    assert [row["stmt_hash"] for row in table] == [11, 11, -12]
    assert {row["target"] for row in table} == {"p(HGNC:6871 ! MAPK1)"}
    assert "1 Complex, 1 evidence without text" in capsys.readouterr().out

    assert main(["aggregate", str(tmp_path / "out")]) == 0
    statements = pq.read_table(tmp_path / "out" / "statements.parquet").to_pylist()
    assert [(row["stmt_hash"], row["evidences"]) for row in statements] == [(-12, 1), (11, 2)]
    both = [row["correct"] for row in table[:2]]
    assert statements[1]["correct_noisy_or"] == pytest.approx(1 - (1 - both[0]) * (1 - both[1]), abs=1e-6)


def test_indra_and_bel_agree_on_the_evidences_of_a_statement(cases: Path, small_run: list[str]) -> None:
    """Two edges of one evidence: its hash travels in the annotations of both."""
    figures = {}
    kept = [argument for argument in small_run if not argument.startswith(("source.path", "output_dir"))]
    output_dir = Path(next(one for one in small_run if one.startswith("output_dir=")).partition("=")[2])
    for kind, name in (("indra", "activeform_two_edges.json"), ("bel", "activeform_two_edges.bel.nodelink.json")):
        folder = output_dir.with_name(kind)
        arguments = [*kept, f"source={kind}", f"source.path={cases / name}", f"output_dir={folder}", "writer=parquet"]
        assert main(["predict", *arguments]) == 0
        assert main(["aggregate", str(folder), "--by", "stmt_hash"]) == 0
        (figures[kind],) = pq.read_table(folder / "statements.parquet").to_pylist()
    figures["indra"].pop("stmt_type")  # an edge of BEL has a relation instead
    assert figures["bel"] == figures["indra"]
    assert figures["bel"]["evidences"] == 1


@pytest.mark.parametrize("wrap", [dict, IndraObject])
def test_statements_in_memory_beside_other_rows(predictor: Predictor, wrap: Any) -> None:
    """INDRA's objects, or their JSON: a prediction a row, the unsound one set aside, the others counted aloud."""
    rejected: list[Rejection] = []
    rows = [
        *map(wrap, STATEMENTS),
        ("p(A)", "p(B)", "Six."),
        {"source": "p(A)", "target": "p(B)", "evidence": "Seven."},
    ]
    with pytest.warns(UserWarning, match="without a row: 1 evidence without text, 1 Complex"):
        found = predictor.predict(rows, on_rejected=rejected.append)
    said = [one.statement.evidence for one in found]
    assert said == ["One.", "Two.", "Five.", "Six.", "Seven."]
    assert [one.statement.extra.get("stmt_hash") for one in found] == [11, 11, -12, None, None]
    assert [rejection.row for rejection in rejected] == [3]


@pytest.mark.parametrize("wrap", [dict, IndraObject])
@pytest.mark.parametrize("workers", [0, 1])
def test_pairs_of_a_complex_are_rated_as_the_command_line_rates_them(
    tmp_path: Path, small_run: list[str], predictor: Predictor, wrap: Any, workers: int
) -> None:
    """For `predict`, `predict_iter` and a source in a script."""
    of_three = {**STATEMENTS[1], "members": [agent("AKT1", 391), *STATEMENTS[1]["members"]]}
    statements = [STATEMENTS[3], STATEMENTS[1], of_three]
    (tmp_path / "emmaa.json").write_text(json.dumps(statements))
    arguments = [argument for argument in small_run if not argument.startswith("source.path")]
    arguments += ["source=indra", f"source.path={tmp_path / 'emmaa.json'}", "source.complexes=pairs", "writer=parquet"]
    assert main(["predict", *arguments]) == 0
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["stmt_type"] for row in table] == ["Activation", *["Complex"] * 4]
    rows = [wrap(statement) for statement in statements]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predictor.predict(rows, complexes="pairs", num_workers=workers)
        assert found == list(predictor.predict_iter(iter(rows), complexes="pairs"))
    names = ("source", "target", "evidence")
    wanted = [tuple(row[name] for name in names) for row in table]
    assert [tuple(getattr(one.statement, name) for name in names) for one in found] == wanted
    for one, row in zip(found, table, strict=True):
        assert one.probabilities["correct"] == pytest.approx(row["correct"], abs=1e-6)
    source = IndraSource(path=str(tmp_path / "emmaa.json"), complexes="pairs")
    assert [one.statement for one in predictor.predict(source.statements())] == [one.statement for one in found]


def test_what_becomes_of_complexes_is_a_choice_of_two(predictor: Predictor) -> None:
    with pytest.raises(UserError, match=r"complexes=both: must be one of skip, pairs"):
        predictor.predict_iter([STATEMENTS[1]], complexes="both")  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="1 Complex; complexes='pairs' pairs the members of a Complex"):
        assert predictor.predict([STATEMENTS[1]]) == []


def test_a_row_with_a_type_of_its_own_is_no_statement(predictor: Predictor) -> None:
    """Columns may have any names, also those of INDRA's JSON."""
    row = {"type": "Activation", "subj": "p(A)", "obj": "p(B)", "evidence": "Eight."}
    (found,) = predictor.predict([row], columns={"source": "subj", "target": "obj"})
    assert (found.statement.source, found.statement.evidence) == ("p(A)", "Eight.")
