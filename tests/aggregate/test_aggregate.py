"""Statements of real runs beside what a plain computation makes of the same rows."""

import json
import shutil
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import KINDS, ODD, PASSED, Run, check_same, plain, read, write
from conftest import LABELS

from stonkgs.aggregate import aggregate


@pytest.mark.parametrize(("kind", "merge"), [*product(KINDS, ("true", "false"))])
def test_real_runs(run: Run, tmp_path: Path, kind: str, merge: str) -> None:
    """All kinds, joined and in parts, tell the same: what is plainly computed from the one of exact types."""
    predicted = read(run("parquet", "merge=true") / "predictions.parquet")
    folder = run(kind, f"merge={merge}")
    for by in (["stmt_hash"], [ODD, "stmt_hash"], ["source", "target"], ["stmt_type"]):
        summary = aggregate(folder, by=by, output=tmp_path / "s.parquet", overwrite=True)
        wanted = plain(predicted, by)
        check_same(read(tmp_path / "s.parquet"), wanted)
        assert pq.read_schema(tmp_path / "s.parquet").field(by[-1]).type == (
            pa.int64() if by[-1] == "stmt_hash" else pa.string()
        )
        used = sum(row["evidences"] for row in wanted)
        assert (summary.rows, summary.without_key) == (60, 60 - used)
        assert (summary.statements, summary.most) == (len(wanted), max(row["evidences"] for row in wanted))
        assert summary.mean == used / len(wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_where_predictions_are(run: Run, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder, the file, the parts, and either moved away: the same bytes."""
    joined, parted = run(kind, "merge=true"), run(kind, "merge=false")
    shutil.copytree(parted / "parts", tmp_path / "moved")
    moved = Path(shutil.copy(joined / f"predictions.{kind}", tmp_path / f"moved.{kind}"))
    places = (joined, joined / f"predictions.{kind}", parted, parted / "parts", tmp_path / "moved", moved)
    contents = set()
    for number, place in enumerate(places):
        classes = None if number < 4 else LABELS
        output = tmp_path / f"{number}.parquet"
        assert aggregate(str(place), output=str(output), classes=classes).rows == 60
        contents.add(output.read_bytes())
    monkeypatch.chdir(parted / "parts")
    assert aggregate(".", output=tmp_path / "here.parquet").rows == 60
    assert len(contents | {(tmp_path / "here.parquet").read_bytes()}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_of_text(run: Run, tmp_path: Path, kind: str) -> None:
    """Read from a TSV, hashes and beliefs are text even in Parquet; they come out as the numbers that they are."""
    for number, source in enumerate(("jsonl", "tsv")):
        aggregate(run(kind, source=source), output=tmp_path / f"{number}.parquet")
    tables = [pq.read_table(tmp_path / f"{number}.parquet") for number in range(2)]
    assert tables[0].schema.types == tables[1].schema.types
    assert tables[0].equals(tables[1])


def test_all_kinds_come_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    contents = set()
    for kind, merge in product(KINDS, ("true", "false")):
        output = aggregate(
            run(kind, f"merge={merge}"), by=["stmt_hash", ODD], output=tmp_path / f"{kind}{merge}.parquet"
        )
        contents.add(output.output.read_bytes())
    assert len(contents) == 1


def test_where_the_output_is(run: Run, tmp_path: Path) -> None:
    joined = Path(shutil.copytree(run("parquet", "merge=true"), tmp_path / "joined"))
    parted = Path(shutil.copytree(run("parquet", "merge=false"), tmp_path / "parted"))
    for place in (joined, parted, parted / "parts"):
        summary = aggregate(place, overwrite=True)
        assert summary.output == (joined if place == joined else parted) / "statements.parquet"
        assert summary.output.exists()
    assert all(path.name[:8].isdigit() for path in (parted / "parts").iterdir())


@pytest.mark.parametrize("kind", ["tsv", "jsonl"])
def test_a_byte_order_mark(tmp_path: Path, kind: str) -> None:
    """As some programs write it."""
    place = write(tmp_path / f"p.{kind}", [{ODD: f"a{n % 2}", "p": 0.5} for n in range(4)])
    place.write_bytes(b"\xef\xbb\xbf" + place.read_bytes())
    aggregate(place, by=[ODD], classes=["p"], output=tmp_path / "s.jsonl")
    assert [(row[ODD], row["evidences"]) for row in read(tmp_path / "s.jsonl")] == [("a0", 2), ("a1", 2)]


def test_output_formats(run: Run, tmp_path: Path) -> None:
    by = ["stmt_hash", ODD]
    rows = {}
    for kind in KINDS:
        aggregate(run("parquet"), by=by, output=tmp_path / f"s.{kind}")
        rows[kind] = read(tmp_path / f"s.{kind}")
    assert rows["parquet"] == rows["jsonl"]
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows["parquet"]]
    assert rows["tsv"] == texts


def test_a_prefix(run: Run, tmp_path: Path) -> None:
    folder = run("tsv", "writer.prefix=stonkgs_", "writer.columns=[stmt_hash,source]", source="jsonl")
    aggregate(folder, output=tmp_path / "s.parquet")
    predicted = read(run("parquet", "merge=true") / "predictions.parquet")
    wanted = plain(predicted, ["stmt_hash"])
    check_same(
        read(tmp_path / "s.parquet"),
        [{name: row[name] for name in row if name not in PASSED[1:]} for row in wanted],
    )


@pytest.mark.parametrize(("told", "moved"), [(None, False), (True, False), (None, True)])
def test_a_row_of_several_classes(run: Run, model_path: Path, tmp_path: Path, told: bool | None, moved: bool) -> None:
    """Told by run.json, or by what the probabilities of rows come to."""
    model = Path(shutil.copytree(model_path, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"multi_label": True}))
    folder = Path(shutil.copytree(run("parquet", model=model), tmp_path / "run"))
    record = json.loads((folder / "run.json").read_text())
    record["model"]["multi_label"] = told
    (folder / "run.json").write_text(json.dumps(record))
    place = (folder / "predictions.parquet").rename(tmp_path / "moved.parquet") if moved else folder
    aggregate(place, output=tmp_path / "s.parquet", classes=LABELS if moved else None)
    rows = read(tmp_path / "s.parquet")
    said = ["|".join(label for label in LABELS if row[f"{label}_mean"] >= 0.5) for row in rows]
    assert [row["prediction"] for row in rows] == said
    assert "incorrect|correct" in said


def test_run_json_decides(run: Run, tmp_path: Path) -> None:
    """Rows of several classes that happen to come to 1 in sum."""
    folder = Path(shutil.copytree(run("parquet"), tmp_path / "run"))
    rows = [{"stmt_hash": 1, "incorrect": float(n), "correct": 1.0 - n} for n in (0, 1)]
    write(folder / "predictions.parquet", rows)
    record = json.loads((folder / "run.json").read_text())
    record["result"]["predicted"] = 2
    del record["files"]
    said = {}
    for told in (True, False):
        record["model"]["multi_label"] = told
        (folder / "run.json").write_text(json.dumps(record))
        aggregate(folder, overwrite=True)
        said[told] = read(folder / "statements.parquet")[0]["prediction"]
    assert said == {True: "incorrect|correct", False: "incorrect"}
