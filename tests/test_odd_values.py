"""Values that JSON cannot say, or that are odd beside a sound sentence: through whole runs, counted and told."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stonkgs.cli import main

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def predict(small_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `predict` over a file and returns what run.json counts, and the summary's line of nulls."""
    given = [argument for argument in small_run if not argument.startswith(("source.path", "output_dir"))]

    def run(source: str, path: Path, name: str, *more: str) -> tuple[dict[str, Any], str]:
        folder = tmp_path / name
        arguments = [*given, f"source={source}", f"source.path={path}", f"output_dir={folder}", *more]
        assert main(["predict", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        told = next((line for line in lines if line.startswith("made null")), "")
        return json.loads((folder / "run.json").read_text())["result"], " ".join(told.split())

    return run


def rows_of(path: Path) -> list[dict[str, Any]]:
    def constant(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    return [json.loads(line, parse_constant=constant, parse_float=str) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("rows", [1, 100])
def test_what_parquet_holds_and_json_lacks(predict: Any, tmp_path: Path, rows: int) -> None:
    columns = {"x": [NAN, 0.5, INF], "y": [[NAN, 1.0], None, [-INF, INF]]}
    pq.write_table(
        pa.table({**{role: ["a"] * 3 for role in ("source", "target", "evidence")}, **columns}), tmp_path / "in"
    )
    counted, told = predict("parquet", tmp_path / "in", "lines", "writer=jsonl", f"split.rows={rows}")
    assert counted["made_null"] == {"NaN or infinity": 5}
    assert told == "made null 5 5 NaN or infinity"
    read = rows_of(tmp_path / "lines" / "predictions.jsonl")
    assert [row["x"] for row in read] == [None, "0.5", None]
    assert [row["y"] for row in read] == [[None, "1.0"], None, [None, None]]
    counted, told = predict("parquet", tmp_path / "in", "table", "writer=tsv", f"split.rows={rows}")
    assert (counted["made_null"], told) == ({"NaN or infinity": 3}, "made null 3 3 NaN or infinity")
    counted, told = predict("parquet", tmp_path / "in", "same", "writer=parquet", f"split.rows={rows}")
    assert ("made_null" in counted, told) == (False, "")
    # What was written is read.
    for name in ("lines/predictions.jsonl", "table/predictions.tsv"):
        kind = name.rpartition(".")[2]
        counted, told = predict(kind, tmp_path / name, f"again {kind}", "writer.prefix=second_")
        assert (counted["predicted"], counted["rejected"], told) == (3, 0, "")


def test_from_jsonl_to_jsonl_and_on_to_statements(predict: Any, tmp_path: Path) -> None:
    numbers = ["1e999", "0.12345678901234567890", "1e-999", "12345678901234567890123", "0.5"]
    line = '{"source": "a", "target": "b", "evidence": "c", "belief": 0.5, "x": %s, "y": {"z": [%s]}}\n'
    (tmp_path / "in.jsonl").write_text("".join(line.replace("%s", number) for number in numbers))
    counted, told = predict("jsonl", tmp_path / "in.jsonl", "out", "writer=jsonl")
    assert (counted["predicted"], told) == (5, "")
    predictions = tmp_path / "out" / "predictions.jsonl"
    assert [str(row["x"]) for row in rows_of(predictions)] == numbers
    assert [str(row["y"]["z"][0]) for row in rows_of(predictions)] == numbers
    assert predict("jsonl", predictions, "again", "writer=jsonl", "writer.prefix=second_")[0]["predicted"] == 5
    again = rows_of(tmp_path / "again" / "predictions.jsonl")
    assert [row["y"] for row in again] == [row["y"] for row in rows_of(predictions)]
    statements = tmp_path / "statements.jsonl"
    assert main(["aggregate", str(tmp_path / "out"), "--by", "source,target", "--output", str(statements)]) == 0
    (statement,) = rows_of(statements)
    assert statement["evidences"] == 5


@pytest.mark.parametrize("rows", [1, 100])
def test_odd_metadata_is_null_and_told(predict: Any, tmp_path: Path, rows: int) -> None:
    agents: dict[str, Any] = {role: {"name": role, "db_refs": {}} for role in ("subj", "obj")}
    evidences = [
        {"text": "One.", "pmid": NAN, "source_api": "reach"},
        {"text": "Two.", "pmid": 7.0, "source_api": ["x"], "context": {"a": [NAN]}},
        {"text": "Three.", "pmid": "\ud800", "source_hash": {}},
    ]
    statement = {"type": "Activation", **agents, "belief": "high", "evidence": evidences}
    (tmp_path / "in.json").write_text(json.dumps([statement, statement]))
    counted, told = predict("indra", tmp_path / "in.json", "out", f"split.rows={rows}")
    assert (counted["predicted"], counted["rejected"]) == (6, 0)
    assert counted["made_null"] == {"belief": 2, "pmid": 4, "source_api": 2, "NaN or infinity": 2}
    assert told == "made null 10 4 pmid, 2 NaN or infinity, 2 belief, 2 source_api"


def test_odd_fields_of_an_edge_are_null_and_told(predict: Any, tmp_path: Path) -> None:
    edge = {"evidence": "One.", "relation": ["x"], "citation": {"namespace": 5}, "annotations": {"a": INF}}
    graph = {"links": [{**edge, "source": 0, "target": 1}], "nodes": ["p(A)", {"bel": "p(B)"}]}
    (tmp_path / "in.json").write_text(json.dumps(graph))
    counted, told = predict("bel", tmp_path / "in.json", "out")
    assert counted["made_null"] == {"relation": 1, "citation": 1, "NaN or infinity": 1}
    assert told == "made null 3 1 NaN or infinity, 1 citation, 1 relation"
