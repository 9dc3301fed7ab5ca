"""`stonkgs embed`: statements in, embeddings on disk, by the flow and with the promises of `predict`."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from conftest import NODES, write_lines

from stonkgs import Predictor
from stonkgs.cli import child, main

#: What a run leaves beside its results.
OTHERS = {"rejected.jsonl", "run.json", "_SUCCESS"}


def embed(*arguments: str, **paths: Path) -> None:
    assert main(["embed", *arguments, *[f"{key}={path}" for key, path in paths.items()]]) == 0


def vectors(folder: Path, prefix: str = "") -> Any:
    """The embeddings of a finished run, float32 [N, H], of whatever format."""
    (path,) = folder.glob("embeddings.*")
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".jsonl":
        return np.array([json.loads(line)["embedding"] for line in path.open()], np.float32)
    table = pa.ipc.open_file(path).read_all() if path.suffix == ".arrow" else pq.read_table(path)
    column = table[f"{prefix}embedding"].combine_chunks()
    assert column.type == pa.list_(pa.float32(), 16) or prefix
    return column.flatten().to_numpy().reshape(len(table), -1)


@pytest.mark.parametrize(
    ("checkpoint", "recorded", "writer"),
    [
        ("checkpoint", "pooled", "parquet"),
        ("pretrained_checkpoint", "pretrained_pooled_embeddings", "npy"),
    ],
)
def test_golden_rows(
    golden: Path, golden_kge: Path, tmp_path: Path, checkpoint: str, recorded: str, writer: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Also of a checkpoint that was only pre-trained, which `predict` refuses."""
    upstream = golden / "upstream"
    given = [
        *[f"model.path={upstream}/{checkpoint}", f"model.tokenizer={upstream}/lm_backbone", f"kge.path={golden_kge}"],
        *[f"source.path={upstream}/rows.tsv", "kge.match=exact", f"output_dir={tmp_path}", "split.rows=16"],
    ]
    embed(*given, "batch.size=7", f"writer={writer}", "writer.prefix=p_")
    wanted = np.load(upstream / f"{recorded}.npy", allow_pickle=False)
    assert np.abs(vectors(tmp_path, "p_") - wanted).max() < 5e-4
    rows = pq.read_table(tmp_path / ("rows.parquet" if writer == "npy" else "embeddings.parquet"))
    lines = [json.loads(line) for line in (upstream / "rows.jsonl").read_text("utf-8").splitlines()]
    assert rows.select(["source", "target", "evidence"]).to_pylist() == lines
    known = list(zip(rows["p_source_known"].to_pylist(), rows["p_target_known"].to_pylist(), strict=True))
    assert known[44:48] == [(False, True), (True, False), (False, False), (False, True)]
    assert [row for row in range(64) if rows["p_text_truncated"][row].as_py()] == [50]
    capsys.readouterr()
    assert main(["predict", *given]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    if checkpoint == "pretrained_checkpoint":
        assert error.endswith("without a classifier; fine-tune it first, or embed with it: stonkgs embed\n")
    else:
        assert "holds a finished run of other settings: the command was embed, is predict. Choose another" in error


def statements(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "source": NODES[number % 7],
            "target": "nobody" if number % 5 == 0 else NODES[number % 11],
            "evidence": "HIF1A " * (number % 6),
        }
        for number in range(count)
    ]


@pytest.fixture
def small(tmp_path: Path, model_path: Path, kge_path: Path) -> dict[str, Path]:
    """The small model and store, sixty rows, one of them unusable, and where results go."""
    rows = statements(60)
    lines = [list(rows[0]), *[list(row.values()) for row in rows]]
    lines.insert(30, ["bad"])
    path = write_lines(tmp_path / "rows.tsv", lines)
    return {"model.path": model_path, "kge.path": kge_path, "source.path": path, "output_dir": tmp_path / "out"}


WRITERS = ("parquet", "npy", "arrow", "jsonl")


@pytest.mark.parametrize(
    ("what", "writers"),
    [
        ("pooled", WRITERS),
        ("mean", ("npy",)),
        ("text", ("npy",)),
        pytest.param("mean", WRITERS, marks=pytest.mark.deep),
        pytest.param("text", WRITERS, marks=pytest.mark.deep),
    ],
)
def test_every_writer_writes_what_the_predictor_gives(
    what: Any, writers: tuple[str, ...], small: dict[str, Path], model_path: Path, kge_path: Path, tmp_path: Path
) -> None:
    """In the input's order, whatever the batches and splits: each row as it is embedded alone."""
    predictor = Predictor(model_path, kge_path, device="cpu")
    alone = np.stack([one.embedding for row in statements(60) for one in predictor.embed([row], what=what)])
    for number, writer in enumerate(writers):
        small["output_dir"] = tmp_path / writer
        embed(f"what={what}", f"writer={writer}", f"split.rows={9 + number}", f"batch.size={4 + 3 * number}", **small)
        assert np.abs(vectors(small["output_dir"]) - alone).max() < 1e-6
        results = {path.name for path in small["output_dir"].iterdir()} - OTHERS
        assert results == {f"embeddings.{writer}"} | ({"rows.parquet"} if writer == "npy" else set())
    rows = pq.read_table(tmp_path / "npy" / "rows.parquet")
    assert rows.select(list(statements(1)[0])).to_pylist() == statements(60)
    if writers != WRITERS:
        return
    whole = pq.read_table(tmp_path / "parquet" / "embeddings.parquet")
    assert whole.drop_columns("embedding").equals(rows)
    assert pa.ipc.open_file(tmp_path / "arrow" / "embeddings.arrow").read_all().drop_columns("embedding").equals(rows)


def test_workers_and_processes_give_the_same_bytes(small: dict[str, Path], tmp_path: Path) -> None:
    given = [f"{key}={path}" for key, path in small.items() if key != "output_dir"]
    given += ["what=mean", "writer=npy", "threads=1", "split.rows=7", "batch.size=4"]
    assert main(["embed", *given, f"output_dir={tmp_path}/one"]) == 0
    assert main(["embed", *given, f"output_dir={tmp_path}/workers", "num_workers=2"]) == 0
    both = [
        forks.Command(["embed", *given, f"output_dir={tmp_path}/two", f"splits={k}/2"], tmp_path / f"log{k}")
        for k in range(2)
    ]
    for one in both:
        status, out, err = one.wait()
        assert (status, err) == (0, "")
        assert "embedded             60" in out
    for name in ("embeddings.npy", "rows.parquet", "rejected.jsonl"):
        wanted = (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "workers" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() == wanted


def test_a_process_for_another_device_embeds_too(
    small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command orders of it, done here in its place."""
    orders: list[Any] = []
    monkeypatch.setattr("stonkgs.engine.children.Children.start", lambda self, command, order: orders.append(order))
    embed("trainer.devices=2", "trainer.accelerator=cpu", "what=text", "split.rows=7", **small)
    (order,) = orders
    assert (order["command"], order["share"]["index"]) == ("embed", 1)
    done = vectors(small["output_dir"])
    order["config"]["output_dir"] = str(tmp_path / "child")
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order, default=str)))
    assert child.main() == 0
    assert np.array_equal(vectors(tmp_path / "child"), done)


def test_a_run_is_told_by_its_command_and_by_what_it_embeds(
    small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, given = small["output_dir"], [f"{key}={path}" for key, path in small.items()]

    def said(*arguments: str, status: int = 1) -> str:
        capsys.readouterr()
        assert main([*arguments]) == status
        told = capsys.readouterr()
        return told.err if status else told.out

    refused = f"error: {out}: holds a finished run of other settings:"
    embed(**small)
    assert said("embed", *given, "what=mean").startswith(f"{refused} what was pooled, is mean. Choose")
    assert said("predict", *given).startswith(f"{refused} the command was embed, is predict. Choose")
    assert "finished                  before" in said("embed", *given, status=0)
    assert "embedded             60" in said("status", str(out), "verify=true", status=0)
    what = "is of stonkgs embed; what is aggregated are predictions (stonkgs predict)"
    for path in (out, out / "embeddings.parquet"):
        assert said("aggregate", str(path), "--by", "id") == f"error: {out}: {what}\n"
    record = json.loads((out / "run.json").read_text())
    assert record["command"].startswith("stonkgs embed ")
    assert len(record["model"]["digest"]) == 64
    assert "classes" not in said("embed", *given, "overwrite=true", "writer=npy", status=0)
    assert {path.name for path in out.iterdir()} == {"embeddings.npy", "rows.parquet", *OTHERS}
    assert "classes" in said("predict", *given, "overwrite=true", status=0)
    assert {path.name for path in out.iterdir()} == {"predictions.tsv", *OTHERS}
    assert said("embed", *given).startswith(f"{refused} the command was predict, is embed. Choose")


def test_somebody_elses_rows_beside_a_finished_run_stay(
    small: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a name that another writer would use; what that writer's own run has made is replaced."""
    out, given = small["output_dir"], [f"{key}={path}" for key, path in small.items()]
    embed(**small)
    (out / "rows.parquet").write_text("precious")
    capsys.readouterr()
    assert main(["embed", *given, "overwrite=true", "writer=npy"]) == 1
    said = capsys.readouterr().err
    assert said == f"error: {out}: holds rows.parquet, which no run wrote; choose another output_dir=\n"
    assert (out / "rows.parquet").read_text() == "precious"
    (out / "rows.parquet").unlink()
    for seed in ("batch.size=3", "batch.size=4"):
        embed("overwrite=true", "writer=npy", seed, **small)
    assert (out / "rows.parquet").stat().st_size > 100


@pytest.mark.parametrize(
    ("command", "setting", "message"),
    [
        ("embed", "what=max", "what=max: must be one of pooled, mean, text"),
        ("embed", "what=null", "what=None: must be one of pooled, mean, text"),
        ("predict", "writer=npy", "writer=npy: holds embeddings (stonkgs embed); predictions need writer=parquet"),
        ("embed", "writer.columns=[nobody]", "writer.columns: the input has no column 'nobody'"),
        ("embed", "splits=2/2", "splits=2/2: "),
    ],
)
def test_what_is_refused(
    small: dict[str, Path], command: str, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([command, setting, *[f"{key}={path}" for key, path in small.items()]])
    error = capsys.readouterr().err
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith(f"error: {message}")
    assert not small["output_dir"].exists(), "a refused run touches nothing"


def test_a_taken_name_and_an_empty_input(
    small: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    del small["output_dir"]
    small["source.path"] = write_lines(tmp_path / "night.tsv", [["source", "target", "evidence", "embedding"]])
    assert main(["embed", *[f"{key}={path}" for key, path in small.items()]]) == 1
    assert "the input has columns ['embedding'], which are output columns too: set writer.prefix=" in (
        capsys.readouterr().err
    )
    embed("writer=npy", "writer.prefix=p_", **small)
    assert np.load(tmp_path / "embeddings" / "night" / "embeddings.npy", allow_pickle=False).shape == (0, 16)
