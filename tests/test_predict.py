"""The whole way, statements in and predictions on disk, in this process through the command line."""

import csv
import gzip
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, NODES, write_lines

from stonkgs.cli import main


def predict(*arguments: str, **paths: Path) -> None:
    assert main(["predict", *arguments, *[f"{key}={path}" for key, path in paths.items()]]) == 0


def probabilities(path: Path, labels: tuple[str, ...] = LABELS) -> Any:
    table = pq.read_table(path / "predictions.parquet")
    return np.stack([table[label].to_numpy() for label in labels], axis=1)


@pytest.mark.parametrize(
    ("size", "workers", "start"),
    [(1, 0, "null"), (7, 2, "fork"), (64, 0, "null"), (64, 2, "forkserver")],
)
def test_golden_rows(golden: Path, golden_kge: Path, tmp_path: Path, size: int, workers: int, start: str) -> None:
    upstream = golden / "upstream"
    predict(
        *[f"model.path={upstream}/checkpoint", f"model.tokenizer={upstream}/lm_backbone", f"kge.path={golden_kge}"],
        *[
            "source=tsv",
            f"source.path={upstream}/rows.tsv",
            "writer=parquet",
            "kge.match=exact",
            f"output_dir={tmp_path}",
        ],
        *[f"batch.size={size}", f"num_workers={workers}", f"start_method={start}", "split.rows=16"],
    )
    wanted = np.load(upstream / "probabilities.npy", allow_pickle=False)
    given = probabilities(tmp_path, ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert np.abs(given - wanted).max() < 2e-4
    table = pq.read_table(tmp_path / "predictions.parquet")
    rows = [json.loads(line) for line in (upstream / "rows.jsonl").read_text("utf-8").splitlines()]
    assert table.select(["source", "target", "evidence"]).to_pylist() == rows
    assert table["prediction"].to_pylist() == [f"LABEL_{k}" for k in wanted.argmax(axis=1)]
    known = list(zip(table["source_known"].to_pylist(), table["target_known"].to_pylist(), strict=True))
    assert known[44:48] == [(False, True), (True, False), (False, False), (False, True)]
    assert known[62] in {(False, True), (True, False)}
    assert [row for row in range(64) if table["text_truncated"][row].as_py()] == [50]


CORPORA = {
    "indra_hbp_edges.tsv.gz": 39_405,
    "bel_conib_hemekg.tsv.gz": 25_260,
    "correctness_hbp_enrichment.tsv.gz": 3_908,
}


def limited(name: str, count: int) -> list[str]:
    """Nothing where all rows are read: there may be no more than are known."""
    return [f"source.limit={count}"] if count < CORPORA[name] else []


def csv_rows(path: Path) -> Any:
    csv.field_size_limit(1 << 24)
    return csv.DictReader(io.TextIOWrapper(gzip.open(path), "utf-8", newline=""), delimiter="\t")


#: A sample of each corpus; all of their rows are deep.
SAMPLE = 1_500
SIZES = [pytest.param(name, min(count, SAMPLE), id=f"{name}-some") for name, count in CORPORA.items()]
SIZES += [
    pytest.param(name, count, id=f"{name}-all", marks=pytest.mark.deep)
    for name, count in CORPORA.items()
    if count > SAMPLE
]


@pytest.mark.parametrize(("name", "count"), SIZES)
def test_real_corpora_through_the_golden_checkpoint(
    name: str, count: int, golden: Path, golden_kge: Path, corpora: Path, tmp_path: Path
) -> None:
    """Every row comes out, with its columns as a csv reader gives them, and the same from every writer.

    The network's part is the same for all three writers, so that two of them rate a small model's predictions below.
    """
    upstream = golden / "upstream"
    predict(
        *[f"model.path={upstream}/checkpoint", f"model.tokenizer={upstream}/lm_backbone", f"kge.path={golden_kge}"],
        *[f"source.path={corpora}/{name}", "writer=parquet", "writer.prefix=stonkgs_", f"output_dir={tmp_path}"],
        *limited(name, count),
    )
    columns = list(csv_rows(corpora / name).fieldnames)
    seen = pq.read_table(tmp_path / "predictions.parquet", columns=columns).to_pylist()
    wanted = list(itertools.islice(csv_rows(corpora / name), count))
    assert seen == wanted
    result = json.loads((tmp_path / "run.json").read_text())["result"]
    assert [result[key] for key in ("read", "predicted", "rejected")] == [count, count, 0]


@pytest.mark.parametrize("writer", ["tsv", "jsonl"])
@pytest.mark.parametrize(("name", "count"), SIZES)
def test_real_corpora_through_the_other_writers(
    name: str, count: int, writer: str, corpora: Path, model_path: Path, kge_path: Path, tmp_path: Path
) -> None:
    predict(
        *[f"model.path={model_path}", f"kge.path={kge_path}", f"source.path={corpora}/{name}", f"writer={writer}"],
        *["writer.prefix=stonkgs_", f"output_dir={tmp_path}", "batch.size=256", "split.rows=2048"],
        *limited(name, count),
    )
    path = tmp_path / f"predictions.{writer}"
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t") if writer == "tsv" else map(json.loads, file)
        compared = 0
        for wanted, seen in zip(itertools.islice(csv_rows(corpora / name), count), rows, strict=True):
            assert {key: seen[key] for key in wanted} == wanted
            compared += 1
    assert compared == count


@pytest.fixture
def small(tmp_path: Path, model_path: Path, kge_path: Path) -> dict[str, Path]:
    """The small model and store, and where results go."""
    return {"model.path": model_path, "kge.path": kge_path, "output_dir": tmp_path / "out"}


def statements(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "source": NODES[number % 7],
            "target": "nobody" if number % 5 == 0 else NODES[number % 11],
            "evidence": "HIF1A " * (number % 6),
            "belief": number / 7,
        }
        for number in range(count)
    ]


def test_sources_agree(small: dict[str, Path], tmp_path: Path) -> None:
    rows = statements(60)
    write_lines(tmp_path / "rows.tsv", [list(rows[0]), *[list(map(str, row.values())) for row in rows]])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=9)
    with open(tmp_path / "rows.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "rows.zst").write_bytes(pa.compress((tmp_path / "rows.csv").read_bytes(), "zstd", asbytes=True))
    (tmp_path / "rows.gz").write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    seen = []
    for source, name in [
        ("tsv", "rows.tsv"),
        ("jsonl", "rows.jsonl"),
        ("parquet", "rows.parquet"),
        ("jsonl", "rows.gz"),
        ("csv", "rows.csv"),
        ("csv", "rows.zst"),
    ]:
        small["output_dir"] = tmp_path / name.replace(".", "-")
        predict(f"source={source}", "writer=parquet", "split.rows=60", **{"source.path": tmp_path / name}, **small)
        seen.append(probabilities(small["output_dir"]))
    table = pq.read_table(tmp_path / "rows-parquet" / "predictions.parquet")
    assert table.select(list(rows[0])).to_pylist() == rows
    assert len(np.unique(seen[0])) > 20, "a model that rates all rows alike would pass any comparison"
    assert all(np.abs(seen[0] - other).max() < 1e-6 for other in seen)


def test_any_number_of_workers_gives_the_same_bytes(small: dict[str, Path], tmp_path: Path) -> None:
    rows = statements(100)
    path = write_lines(tmp_path / "rows.tsv", [list(rows[0]), *[list(map(str, row.values())) for row in rows], ["x"]])
    outputs = []
    for workers in (0, 1, 3):
        small["output_dir"] = tmp_path / str(workers)
        predict(f"num_workers={workers}", "split.rows=9", "batch.size=4", **{"source.path": path}, **small)
        outputs.append([(small["output_dir"] / name).read_bytes() for name in ("predictions.tsv", "rejected.jsonl")])
    assert outputs[0] == outputs[1] == outputs[2]
    assert json.loads(outputs[0][1])["line"] == 102


def test_an_own_probability_for_every_row(small: dict[str, Path], tmp_path: Path) -> None:
    """In the input's order although batches are sorted by length: each row as it is rated alone."""
    rows = statements(25)
    cells = [list(map(str, row.values())) for row in rows]
    path = write_lines(tmp_path / "all.tsv", [list(rows[0]), *cells])
    predict("writer=parquet", "batch.size=4", **{"source.path": path}, **small)
    together = probabilities(small["output_dir"])
    for number in range(0, 25, 6):
        small["output_dir"] = tmp_path / str(number)
        path = write_lines(tmp_path / "one.tsv", [list(rows[0]), cells[number]])
        predict("writer=parquet", **{"source.path": path}, **small)
        assert np.abs(probabilities(small["output_dir"])[0] - together[number]).max() < 1e-6


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(small: dict[str, Path], tmp_path: Path, precision: str) -> None:
    rows = statements(25)
    path = write_lines(tmp_path / "rows.tsv", [list(rows[0]), *[list(map(str, row.values())) for row in rows]])
    predict("writer=parquet", **{"source.path": path}, **small)
    exact = probabilities(small["output_dir"])
    small["output_dir"] = tmp_path / precision
    predict("writer=parquet", f"trainer.precision={precision}", **{"source.path": path}, **small)
    difference = np.abs(probabilities(small["output_dir"]) - exact).max()
    assert 1e-6 < difference < 0.1


def test_header_alone_is_a_night_without_news(small: dict[str, Path], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "pmid"]])
    predict(**{"source.path": path}, **small)
    header = (small["output_dir"] / "predictions.tsv").read_text()
    assert (
        header == "source\ttarget\tevidence\tpmid\tincorrect\tcorrect\tprediction\t"
        "source_known\ttarget_known\ttext_truncated\n"
    )
    assert (small["output_dir"] / "_SUCCESS").exists()


def test_all_rejected_is_an_error(small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], ["a", "b"], ["c"]])
    assert main(["predict", f"source.path={path}", *[f"{k}={v}" for k, v in small.items()]]) == 1
    assert f"error: all 2 rows were rejected: see {small['output_dir']}/rejected.jsonl\n" == capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_on_error_raise_names_the_line(
    small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    rows = [["source", "target", "evidence"], *[["NA", "NA", "x"]] * 30, ["bad"], *[["NA", "NA", "x"]] * 9]
    path = write_lines(tmp_path / "rows.tsv", rows)
    arguments = [f"source.path={path}", "on_error=raise", f"num_workers={workers}", "split.rows=5"]
    assert main(["predict", *arguments, *[f"{k}={v}" for k, v in small.items()]]) == 1
    assert f"{path}, line 32, byte {23 + 30 * 8}: " in capsys.readouterr().err
    assert not (small["output_dir"] / "predictions.tsv").exists()


def test_columns_by_other_names_and_a_prefix(small: dict[str, Path], tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "rows.tsv", [["sentence", "object", "correct", "subject"], ["HIF1A", "NA", "7", "NA"]]
    )
    names = [
        f"source.columns.{role}={name}"
        for role, name in zip(("source", "target", "evidence"), ("subject", "object", "sentence"), strict=True)
    ]
    predict(*names, "writer.prefix=p_", **{"source.path": path}, **small)
    with open(small["output_dir"] / "predictions.tsv", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert (row["sentence"], row["object"], row["correct"], row["p_source_known"]) == ("HIF1A", "NA", "7", "true")


def test_the_default_output_folder_has_the_inputs_name(
    small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_lines(tmp_path / "nightly.tsv.gz", [["source", "target", "evidence"], ["NA", "NA", "x"]])
    del small["output_dir"]
    predict(**{"source.path": path}, **small)
    assert (tmp_path / "predictions" / "nightly" / "predictions.tsv").exists()


def test_a_summary_for_people(small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], ["NA", "NA", "x"], ["bad"]])
    predict(**{"source.path": path}, **small)
    printed = capsys.readouterr()
    words = [line.split() for line in printed.out.splitlines()]
    assert [(line[0], line[-1]) for line in words[1:3]] == [
        ("predicted", f"{small['output_dir']}/predictions.tsv"),
        ("rejected", f"{small['output_dir']}/rejected.jsonl"),
    ]
    assert [line[0] for line in words[3:]] == ["classes", "nodes", "texts", "rows/s"]
    assert words[3][1] == "100.0%"
    assert printed.err == "", "quiet where nobody is looking"


def test_how_nodes_were_found_is_reported(
    small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [NODES[0], "p(HGNC:4910 ! HIF-1)", "nobody"]
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *[[n, names[0], "x"] for n in names]])
    for match, counts in (("identifier", (4, 1, 1)), ("exact", (4, 0, 2)), ("null", (4, 1, 1))):
        predict(f"kge.match={match}", "overwrite=true", "writer=jsonl", **{"source.path": path}, **small)
        result = json.loads((small["output_dir"] / "run.json").read_text())["result"]
        assert tuple(result[f"nodes_{how}"] for how in ("exact", "identifier", "unknown")) == counts
        rows = [json.loads(line) for line in (small["output_dir"] / "predictions.jsonl").open()]
        assert [row["source_known"] for row in rows] == [True, match != "exact", False]
    assert "66.7% by name, 16.7% by identifier, 16.7% unknown" in capsys.readouterr().out


def test_the_columns_that_are_wanted_of_the_first_rows(small: dict[str, Path], tmp_path: Path) -> None:
    rows = statements(60)
    path = write_lines(tmp_path / "rows.tsv", [list(rows[0]), *[list(map(str, row.values())) for row in rows]])
    predict("source.limit=17", "split.rows=5", "writer.columns=[belief,id]", **{"source.path": path}, **small)
    with open(small["output_dir"] / "predictions.tsv", newline="") as file:
        seen = list(csv.DictReader(file, delimiter="\t"))
    assert list(seen[0])[:3] == ["belief", "id", "incorrect"]
    assert [int(row["id"]) for row in seen] == list(range(17))
    predict("overwrite=true", "writer=parquet", "writer.columns=[]", **{"source.path": path}, **small)
    assert pq.read_table(small["output_dir"] / "predictions.parquet").column_names[:1] == ["incorrect"]


def test_a_half_precision_store(small: dict[str, Path], tmp_path: Path, kge_path: Path) -> None:
    rows = statements(25)
    path = write_lines(tmp_path / "rows.tsv", [list(rows[0]), *[list(map(str, row.values())) for row in rows]])
    predict("writer=parquet", **{"source.path": path}, **small)
    exact = probabilities(small["output_dir"])
    texts = [f"--{kind}={kge_path.parent / kind}.tsv" for kind in ("vectors", "walks")]
    assert main(["kge", "build", "--half", *texts, f"--output={tmp_path / 'half.h5'}"]) == 0
    assert (tmp_path / "half.h5").stat().st_size < kge_path.stat().st_size
    small |= {"kge.path": tmp_path / "half.h5", "output_dir": tmp_path / "half"}
    predict("writer=parquet", **{"source.path": path}, **small)
    assert 0 < np.abs(probabilities(small["output_dir"]) - exact).max() < 0.01


def test_a_converted_checkpoint_gives_the_same_bits(golden: Path, golden_kge: Path, tmp_path: Path) -> None:
    upstream = golden / "upstream"
    source = [f"source.path={upstream}/rows.tsv", "writer=parquet", f"kge.path={golden_kge}"]
    predict(
        *[f"model.path={upstream}/checkpoint", f"model.tokenizer={upstream}/lm_backbone", *source],
        **{"output_dir": tmp_path / "published"},
    )
    convert = [f"{upstream}/checkpoint", f"--tokenizer={upstream}/lm_backbone", f"--kge={golden_kge}"]
    assert main(["model", "convert", *convert, f"--output={tmp_path}/model"]) == 0
    predict(f"model.path={tmp_path}/model", *source, **{"output_dir": tmp_path / "ours"})
    tables = [pq.read_table(tmp_path / name / "predictions.parquet") for name in ("published", "ours")]
    assert tables[0].equals(tables[1])
