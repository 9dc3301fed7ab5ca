"""Pre-training from the command line: it learns, goes on after a kill, and leaves a folder that is fine-tuned."""

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HIDDEN, NODES, ROOT, write_lines
from safetensors.torch import load_file, save_file
from synthetic import VOCABULARY, write_model
from trainings import die_before, in_fork, steps, train, write_plain

from stonkgs import KgeStore, STonKGs
from stonkgs.cli import main
from stonkgs.model.pretraining import heads_of
from stonkgs.source.fingerprint import Fingerprint

ROWS = 180


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSV whose texts name their nodes, with a label and a paper."""
    draw = random.Random(0)
    rows = [["source", "target", "evidence", "polarity", "pmid"]]
    for number in range(ROWS):
        one, other = draw.sample(range(5, 30), 2)
        kind = draw.choice(("up", "down"))
        text = f"{'we found' * (number % 3)} acts{one} {kind} on{other} {'cell ' * draw.randrange(6)} {number}"
        rows.append([NODES[one], NODES[other], text, kind, str(number // 2)])
    return write_lines(tmp_path_factory.mktemp("statements") / "statements.tsv", rows)


@pytest.fixture(scope="module")
def given(statements: Path, kge_path: Path) -> list[str]:
    """Arguments of any pre-training here."""
    return [
        *("experiment=pretrain", f"source.path={statements}", f"kge.path={kge_path}", "logger=none", "threads=1"),
        *("epochs=3", "batch.size=12", "batch.buffer=50", "split.rows=40", "log_every=1", "checkpoint_every=3"),
        *("optimizer.lr=1e-2", "trainer.accelerator=cpu", "protocol.validation=0.1", "patience=null"),
    ]


@pytest.fixture(scope="module")
def fresh(given: list[str]) -> list[str]:
    """The same from random weights."""
    return [*given, "model.num_layers=1", "model.num_heads=2", "model.text_length=12", "model.words=300"]


@pytest.fixture(scope="module")
def undisturbed(fresh: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pre-training from random weights."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    assert in_fork(fresh, folder, lambda: None) == 0
    return folder


def assert_same(one: Path, other: Path) -> None:
    assert steps(one) == steps(other)
    assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    for name in ("model.safetensors", "pretraining.safetensors"):
        weights, others = (load_file(folder / "model" / name) for folder in (one, other))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weight, others[key]) for key, weight in weights.items()), name


def refused(arguments: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is refused with."""
    assert train(arguments, folder) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return str(line)


def test_it_learns(undisturbed: Path) -> None:
    found = [{key: float(value) for key, value in row.items() if value} for row in steps(undisturbed)]
    losses = [row["train_loss"] for row in found if "train_loss" in row]
    validations = [row for row in found if "loss" in row]
    assert len(validations) == 3
    assert np.mean(losses[-5:]) < losses[0] - 0.5
    assert validations[-1]["loss"] < validations[0]["loss"]
    for row in validations:
        parts = [row[f"{goal}_loss"] for goal in ("text", "entity", "pair")]
        assert row["loss"] == pytest.approx(sum(parts))
        assert all(0 <= row[f"{goal}_accuracy"] <= 1 for goal in ("text", "entity", "pair"))
    metrics = json.loads((undisturbed / "metrics.json").read_text())
    assert metrics["validation"]["loss"] == min(row["loss"] for row in validations)
    assert (undisturbed / "plots" / "learning_curves.png").exists()
    assert not (undisturbed / "checkpoints").exists()


def test_it_has_a_card(undisturbed: Path) -> None:
    text = (undisturbed / "model" / "README.md").read_text("utf-8")
    metrics = json.loads((undisturbed / "metrics.json").read_text())["validation"]
    assert f"| entity loss | {metrics['entity_loss']:.4f} |" in text
    assert "| train | 165 |" in text
    assert "Protocol: pre-trained with all rows; measured on the validation part of: grouped by evidence" in text
    assert "Beware" not in text


def test_the_weights_of_the_best_validation_are_kept(undisturbed: Path, kge_path: Path) -> None:
    network = STonKGs.from_pretrained(undisturbed / "model")
    assert isinstance(network, STonKGs)
    assert network.config.labels == ()
    assert network.config.kge_digest == KgeStore(path=str(kge_path)).digest
    heads, kept = (
        heads_of(network, KgeStore(path=str(kge_path)), biased=True),
        load_file(undisturbed / "model" / "pretraining.safetensors"),
    )
    assert {f"cls.{name}" for name in heads.state_dict()} == kept.keys()
    assert all(torch.equal(weight, kept[f"cls.{name}"]) for name, weight in heads.state_dict().items())


def test_killed_and_gone_on_with(fresh: list[str], undisturbed: Path, tmp_path: Path) -> None:
    for step in (5, 30):
        assert in_fork(fresh, tmp_path / "killed", die_before(step)) == -signal.SIGKILL
        assert not (tmp_path / "killed" / "_SUCCESS").exists()
    assert in_fork(fresh, tmp_path / "killed", lambda: None) == 0
    assert_same(tmp_path / "killed", undisturbed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(seed: int, fresh: list[str], undisturbed: Path, tmp_path: Path) -> None:
    for step in sorted(random.Random(seed).sample(range(1, 50), 6)):
        assert in_fork(fresh, tmp_path / "killed", die_before(step)) == -signal.SIGKILL
    assert in_fork(fresh, tmp_path / "killed", lambda: None) == 0
    assert_same(tmp_path / "killed", undisturbed)


@pytest.mark.deep
def test_workers_change_nothing(fresh: list[str], undisturbed: Path, tmp_path: Path) -> None:
    assert in_fork([*fresh, "num_workers=2", "start_method=fork"], tmp_path / "workers", lambda: None) == 0
    assert_same(tmp_path / "workers", undisturbed)


@pytest.mark.deep
@pytest.mark.process
def test_two_processes_are_one_with_twice_the_rows(given: list[str], model_path: Path, tmp_path: Path) -> None:
    """The same masks, the same steps, and the mean over all masked places. Without dropout: each draws its own."""
    write_plain(model_path, tmp_path / "model")
    one = [*given, "model=stonkgs", f"model.path={tmp_path / 'model'}", "epochs=1"]
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *one, "trainer.devices=2", f"output_dir={tmp_path / 'two'}"],
        timeout=240,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert train([*one, "batch.size=24"], tmp_path / "one") == 0
    found, expected = steps(tmp_path / "two"), steps(tmp_path / "one")
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for name in ("train_loss", "loss", "text_loss", "entity_loss", "pair_loss", "pair_accuracy"):
        values, wanted = ([float(row[name]) for row in rows if row[name]] for rows in (found, expected))
        assert values == pytest.approx(wanted, abs=2e-3), name
    assert done.stdout.count("protocol ") == 1


def test_in_bfloat16(fresh: list[str], undisturbed: Path, tmp_path: Path) -> None:
    assert train([*fresh, "trainer.precision=bf16-mixed", "epochs=1"], tmp_path / "out") == 0
    first, wanted = (float(steps(folder)[0]["train_loss"]) for folder in (tmp_path / "out", undisturbed))
    assert first == pytest.approx(wanted, rel=0.02)
    assert {weight.dtype for weight in load_file(tmp_path / "out/model/pretraining.safetensors").values()} == {
        torch.float32
    }


def test_its_folder_is_fine_tuned(undisturbed: Path, statements: Path, kge_path: Path, tmp_path: Path) -> None:
    """And the figures say that the tested rows may have been learned from, as none was left out."""
    tuned = ["task=polarity", f"source.path={statements}", f"kge.path={kge_path}", "epochs=1", "logger=none"]
    assert train([*tuned, f"model.path={undisturbed / 'model'}"], tmp_path / "out") == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "of this very file, which may be tested here: pre-trained with all rows" in metrics["protocol"]
    assert not (tmp_path / "out" / "model" / "pretraining.safetensors").exists()


def test_rows_that_will_be_tested_are_left_out(
    fresh: list[str], statements: Path, kge_path: Path, tmp_path: Path
) -> None:
    """By pmid, of folds; then no doubt is left, and of another fold there is one."""
    folds = ["protocol=folds", "protocol.by=pmid", "protocol.fold=1"]
    given = [*fresh, *folds, "protocol.validation=0.1", "epochs=1"]
    assert train([*given, "without=rows", f"without.source.path={statements}"], tmp_path / "strict") == 0
    census = json.loads((tmp_path / "strict" / "run.json").read_text())["census"]
    tuned = ["task=polarity", f"source.path={statements}", f"kge.path={kge_path}", "epochs=1", "logger=none"]
    tuned = [*tuned, f"model.path={tmp_path / 'strict' / 'model'}", *folds]
    for fold, doubt in ((1, False), (2, True)):
        assert train([*tuned, f"protocol.fold={fold}"], tmp_path / str(fold)) == 0
        metrics = json.loads((tmp_path / str(fold) / "metrics.json").read_text())
        assert ("may be tested here" in metrics["protocol"]) == doubt
        if not doubt:
            assert census["unused"]["left out"] == metrics["test"]["rows"] > 20
    other = write_lines(tmp_path / "other.tsv", [line.split("\t") for line in statements.read_text().splitlines()[:-1]])
    assert train([*tuned, f"source.path={other}"], tmp_path / "other") == 0
    told = json.loads((tmp_path / "other" / "metrics.json").read_text())["protocol"]
    assert "may be tested here" in told, "of another file's groups nothing is known"


def test_going_on_reads_the_heads(undisturbed: Path, given: list[str], tmp_path: Path) -> None:
    more = [*given, "model=stonkgs", f"model.path={undisturbed / 'model'}", "freeze_backbone=false", "epochs=1"]
    assert train(more, tmp_path / "out") == 0
    found, before = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "out", undisturbed))
    assert found["validation"]["loss"] < before["validation"]["loss"] + 0.3
    first = next(float(row["train_loss"]) for row in steps(tmp_path / "out") if row["train_loss"])
    new = next(float(row["train_loss"]) for row in steps(undisturbed) if row["train_loss"])
    assert first < new - 0.3


def test_a_bert_becomes_the_text_backbone(given: list[str], model_path: Path, tmp_path: Path) -> None:
    """Frozen by default: its weights are in the model as they were, whatever its file is called."""
    weights = load_file(model_path / "model.safetensors")
    bert = {key.removeprefix("lm_backbone."): weight for key, weight in weights.items() if key.startswith("lm_")}
    folder = tmp_path / "bert"
    folder.mkdir()
    config = json.loads((model_path / "config.json").read_text())["lm_backbone"]
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    torch.save({f"bert.{key}": weight for key, weight in bert.items()}, folder / "pytorch_model.bin")
    more = [*given, f"model.backbone={folder}", "model.text_length=20", "model.num_heads=2", "epochs=1"]
    assert train(more, tmp_path / "out") == 0
    kept = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert all(torch.equal(kept[f"lm_backbone.{key}"], weight) for key, weight in bert.items())
    base = json.loads((tmp_path / "out" / "run.json").read_text())["base"]
    assert base == f"random weights over the text backbone {folder}"
    trained = [*more, "freeze_backbone=false"]
    assert train(trained, tmp_path / "trained") == 0
    kept = load_file(tmp_path / "trained" / "model" / "model.safetensors")
    assert not all(torch.equal(kept[f"lm_backbone.{key}"], weight) for key, weight in bert.items())


def test_a_published_checkpoint_goes_on(golden: Path, golden_kge: Path, tmp_path: Path) -> None:
    """With its own objective and heads: its first loss is about that of the recorded batch."""
    upstream = golden / "upstream"
    rows = [json.loads(line) for line in (upstream / "rows.jsonl").read_text("utf-8").splitlines()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [
        *("experiment=pretrain", "source=jsonl", f"source.path={tmp_path / 'rows.jsonl'}", f"kge.path={golden_kge}"),
        *("model=stonkgs", f"model.path={upstream / 'pretrained_checkpoint'}", "epochs=1", "logger=none"),
        *(f"model.tokenizer={upstream / 'lm_backbone'}", "protocol.validation=0.2", "batch.size=8", "log_every=1"),
    ]
    assert train(arguments, tmp_path / "out") == 0
    identity = json.loads((tmp_path / "out" / "run.json").read_text())["identity"]
    file = upstream / "pretrained_checkpoint" / "pytorch_model.bin"
    assert identity["the model's heads"] == [Fingerprint.of(str(file)).ends]
    recorded = json.loads((upstream / "meta.json").read_text())["pretraining_losses"]["total_loss"]
    first = float(steps(tmp_path / "out")[0]["train_loss"])
    assert first == pytest.approx(recorded, abs=3)
    kept, config = (load_file(tmp_path / "out/model/pretraining.safetensors"), _config(tmp_path / "out/model"))
    start = torch.load(upstream / "pretrained_checkpoint/pytorch_model.bin", weights_only=True)
    assert torch.equal(kept["cls.predictions.entity_bias"], start["cls.predictions.entity_bias"]), "read by nothing"
    decoder = "cls.predictions.entity_decoder.weight"
    assert not torch.equal(kept[decoder], start[decoder])
    assert config["legacy_text_padding"]
    assert config["legacy_node_shift"]


def _config(model: Path) -> dict[str, Any]:
    return dict(json.loads((model / "config.json").read_text()))


def test_what_it_starts_from_is_not_replaced(
    undisturbed: Path, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model, or a text backbone, in the training's own folder. A test may have its model there."""
    out, task = shutil.copytree(undisturbed, tmp_path / "out"), [*given[1:], "task=polarity", "mode=test"]
    for key, setting in (("path", "model=stonkgs"), ("backbone", "model=fresh")):
        for arguments in (given, ["task=polarity", *given[1:]]):
            told = refused([*arguments, "overwrite=true", setting, f"model.{key}={out}/model"], out, capsys)
            assert told.startswith(f"error: model.{key}={out}/model: lies in output_dir={out}, where the training")
    assert "needs a model that was fine-tuned" in refused([*task, f"model.path={out}/model"], out, capsys)
    assert (out / "model" / "pretraining.safetensors").exists()


def test_a_backbone_whose_tokens_have_other_names(
    given: list[str], model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model_path, tmp_path / "bert")
    (folder / "config.json").write_text(json.dumps(_config(folder)["lm_backbone"]))
    written = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(written.replace("[MASK]", "<mask>"), "utf-8")
    told = refused([*given, f"model.backbone={folder}", "model.text_length=20"], tmp_path / "out", capsys)
    assert told == f"error: {folder}/tokenizer.json: not a BERT vocabulary: no ['[MASK]']"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["mode=test"], "mode=test: a pre-training has no test part"),
        (["monitor=accuracy"], "monitor=accuracy: of a pre-training only the loss"),
        (["sampling=balanced"], "sampling=balanced: statements without labels"),
        (["model.architecture=text_only"], "only models that read text and walks are pre-trained"),
        (["model.architecture=triple"], "only models that read text and walks are pre-trained"),
        (["model=tfidf"], "only models that read text and walks are pre-trained"),
        (["task.objective=other"], "task.objective=other: must be"),
        (["without=groups", "protocol.by=nothing"], "no column 'nothing'"),
        (["task=polarity", "without=groups"], "without= is for task=pretraining"),
        (["task=polarity", "+without.where.pmid=1"], "without= is for task=pretraining"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    more: list[str], told: str, fresh: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [word for word in fresh if more[0].partition("=")[0] != "model" or not word.startswith("model.")]
    assert told in refused([*settings, *more], tmp_path / "out", capsys)
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_backbone_of_another_width(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = write_model(tmp_path / "wide", hidden=2 * HIDDEN, layers=1, text_length=24, walk_length=5)
    config = _config(wide)["lm_backbone"]
    (wide / "config.json").write_text(json.dumps(config))
    told = refused([*given, f"model.backbone={wide}"], tmp_path / "out", capsys)
    assert f"gives vectors of {2 * HIDDEN}" in told
    assert f"have {HIDDEN}: text and graph are read as one sequence" in told


def test_another_store(undisturbed: Path, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of another digest, and with any_kge of another number of nodes, or with damaged heads."""
    rows = [[name, *np.random.default_rng(1).normal(size=HIDDEN).astype(str)] for name in NODES[:-9]]
    walks = [[name, *NODES[:5]] for name in NODES[:-9]]
    write_lines(tmp_path / "vectors.tsv", rows)
    write_lines(tmp_path / "walks.tsv", walks)
    build = ["--vectors", str(tmp_path / "vectors.tsv"), "--walks", str(tmp_path / "walks.tsv")]
    assert main(["kge", "build", *build, "--output", str(tmp_path / "kge.h5")]) == 0
    capsys.readouterr()
    model = shutil.copytree(undisturbed / "model", tmp_path / "model")
    on = [*given, "model=stonkgs", f"model.path={model}"]
    other = [*on, f"kge.path={tmp_path / 'kge.h5'}"]
    assert "but the model was trained with" in refused(other, tmp_path / "out", capsys)
    told = refused([*other, "any_kge=true"], tmp_path / "out", capsys)
    assert f"heads of the pre-training tell {len(NODES)} nodes apart, but" in told
    heads = load_file(model / "pretraining.safetensors")
    del heads["cls.seq_relationship.weight"]
    save_file(heads, model / "pretraining.safetensors")
    told = refused([*on], tmp_path / "out2", capsys)
    assert "the weights lack seq_relationship.weight" in told


def test_a_loss_that_is_no_number(fresh: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steep = ["optimizer.lr=1e30", "warmup=0", "trainer.gradient_clip_val=null"]
    told = refused([*fresh, *steep], tmp_path / "out", capsys)
    assert "the loss is nan at step" in told


def test_without_a_validation_part_the_last_weights_are_kept(fresh: list[str], tmp_path: Path) -> None:
    assert train([*fresh, "protocol.validation=0", "epochs=1"], tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()).keys() == {"protocol"}
    with open(tmp_path / "out" / "history.csv", newline="") as file:
        assert "loss" not in next(csv.reader(file))
