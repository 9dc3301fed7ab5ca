"""A training learns what there is to learn, as the first implementation did, and nothing where there is nothing."""

import json
import random
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import NODES, ROOT, write_lines

from stonkgs import Predictor, Statement, STonKGs
from stonkgs.batch import collate
from stonkgs.cli import main
from stonkgs.kge.build import build
from stonkgs.model.bert import read_text
from stonkgs.protocol import TRAIN, Grouped
from stonkgs.train.module import FineTuning
from stonkgs.train.schedule import Schedule
from stonkgs.train.stream import Step

#: Classes that follow from nothing but the row's own number.
CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def upstream(golden: Path, golden_kge: Path) -> tuple[FineTuning, list[Statement], Path]:
    """The recorded checkpoint as it is fine-tuned, and the recorded rows."""
    folder = golden / "upstream"
    network = STonKGs.from_pretrained(str(folder / "checkpoint"), tokenizer=str(folder / "lm_backbone"))
    module = FineTuning(
        Predictor(network, golden_kge),
        Schedule(counts=np.array([6, 5, 5]), epochs=1, size=16),
        optimizer=partial(torch.optim.AdamW, lr=1e-4),
        warmup=0.0,
        freeze_backbone=True,
        weights=None,
        threads=None,
        log_every=50,
    )
    return module, golden_rows(folder), folder


def golden_rows(folder: Path) -> list[Statement]:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    return [Statement(row["source"], row["target"], row["evidence"]) for row in rows]


def step(module: FineTuning, statements: Sequence[Statement]) -> Step:
    """The first rows, labelled 0, 1, 2, 0, 1, ..."""
    examples = module.predictor.encoder()(statements)
    targets = np.arange(len(statements)) % 3
    return Step(0, collate(list(enumerate(examples))), targets, float(len(statements)))


def test_losses_and_gradients_of_the_first_implementation(upstream: tuple[FineTuning, list[Statement], Path]) -> None:
    """Recorded without dropout."""
    module, statements, folder = upstream
    meta = json.loads((folder / "meta.json").read_text())
    module.train(False)
    found = [float(module.step_loss(step(module, statements[:count])).detach()) for count in (16, 4)]
    recorded = [meta["classification_loss_first16_labels_arange_mod"], meta["classification_loss_first4"]]
    assert found == pytest.approx(recorded, abs=1e-5)
    module.zero_grad()
    module.step_loss(step(module, statements[:4])).backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad for name, weight in module.network.named_parameters()}
    norms = {name: float(gradient.norm()) for name, gradient in gradients.items() if gradient is not None}
    assert norms == pytest.approx(meta["grad_norms_first4"], rel=1e-3, abs=1e-4)
    assert {name for name in gradients if name not in norms} <= set(meta["params_without_grad_names"])
    module.zero_grad()


def test_the_backbone_is_left_alone(upstream: tuple[FineTuning, list[Statement], Path]) -> None:
    module, statements, _ = upstream
    module.train()
    assert module.network.get_submodule("bert").training
    assert not any(part.training for part in module.network.get_submodule("lm_backbone").modules())
    with torch.no_grad():
        losses = {float(module.step_loss(step(module, statements[:4]))) for _ in range(3)}
    assert len(losses) == 3  # dropout in the joint BERT
    assert not [
        name for name in module.state_dict() if name.startswith("network.lm_backbone") and name in saved(module)
    ]


def test_the_dropout_of_a_frozen_backbone_may_stay_on(upstream: tuple[FineTuning, list[Statement], Path]) -> None:
    """As in the first implementation. Otherwise a text gives the same vectors in training as in prediction."""
    module, statements, _ = upstream
    backbone = module.network.get_submodule("lm_backbone")
    given = module.predictor.inputs(step(module, statements[:4]).batch)["text"]
    for dropout, different in ((False, 1), (True, 3)):
        module.backbone_dropout = dropout
        module.train()
        with torch.no_grad():
            sums = {float(read_text(backbone, given["tokens"], given["lengths"]).sum()) for _ in range(3)}
        assert len(sums) == different
        assert not any(weight.requires_grad for weight in backbone.parameters())
    module.backbone_dropout = False
    module.train()


def saved(module: FineTuning) -> dict[str, torch.Tensor]:
    """What a checkpoint holds of the weights."""
    module.trainer = pl.Trainer(barebones=True, accelerator="cpu")  # the losses of all of its processes are in it, too
    checkpoint = {"state_dict": module.state_dict(), "loops": {}}
    module.on_save_checkpoint(checkpoint)
    return checkpoint["state_dict"]


def sixty_four(folder: Path, statements: Sequence[Statement]) -> Path:
    """A TSV of 64 training rows with a class each, and three to test with. What cannot be told apart has one class."""
    protocol = Grouped(by="group")
    names: dict[str, list[str]] = {}
    for number in range(2000):
        names.setdefault(protocol.part(Statement("", "", "", {"group": str(number)}), 0), []).append(str(number))
    rows = [["source", "target", "evidence", "group", "kind"]]
    kinds: dict[tuple[str, ...], str] = {}
    for number, statement in enumerate(statements):
        known = tuple(name.strip() if name == name.strip() else "?" for name in (statement.source, statement.target))
        text = " ".join(statement.evidence.split())
        kind = kinds.setdefault((*known, text), CLASSES[number % 3])
        rows.append([statement.source, statement.target, text, names[TRAIN][number], kind])
    rows += [[*rows[1 + number][:3], names["test"][number], rows[1 + number][4]] for number in range(3)]
    return write_lines(folder / "rows.tsv", rows)


def train(folder: Path, path: Path, kge: Path, *more: str) -> None:
    """Learn all rows by heart: without a validation part the last weights are kept."""
    given = ["task=discover", "task.name=kind", "task.min_count=1", f"source.path={path}", f"kge.path={kge}"]
    given += ["protocol.by=group", "protocol.validation=0", "source.quoting=none", "logger=none"]
    assert main(["train", *given, f"output_dir={folder}", "class_weights=balanced", *more]) == 0


def accuracy(folder: Path, path: Path, kge: Path) -> float:
    """On all rows, the three copies among them."""
    given = ["mode=test", "task=discover", "task.name=kind", f"source.path={path}", f"kge.path={kge}", "protocol=all"]
    given += ["source.quoting=none", f"model.path={folder / 'model'}", f"output_dir={folder / 'tested'}"]
    assert main(["train", *given]) == 0
    values = json.loads((folder / "tested" / "metrics.json").read_text())
    assert values["protocol"].startswith("all labelled rows; but the model was trained with rows of this very file")
    return float(values["test"]["accuracy"])


def test_64_rows_are_learned_from_a_pretrained_checkpoint(golden: Path, golden_kge: Path, tmp_path: Path) -> None:
    folder = golden / "upstream"
    path = sixty_four(tmp_path, golden_rows(folder))
    start = shutil.copytree(folder / "pretrained_checkpoint", tmp_path / "start")
    config = json.loads((start / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # what keeps from learning by heart
    (start / "config.json").write_text(json.dumps(config))
    given = [f"model.path={start}", f"model.tokenizer={folder / 'lm_backbone'}", "epochs=15", "batch.size=16"]
    train(tmp_path / "out", path, golden_kge, *given, "optimizer.lr=2e-3", "warmup=0.05")
    assert accuracy(tmp_path / "out", path, golden_kge) == 1.0


def test_64_rows_are_learned_from_scratch(tmp_path: Path) -> None:
    """Each text has a word of its own, and vectors are wide enough that any seed or machine learns all rows."""
    draw = random.Random(1)
    words = [f"{first}{second}" for first in "bdfgklmn" for second in "aeiouyrs"]  # twice a text: in the vocabulary
    pairs = [draw.sample(NODES[4:], 2) for _ in words]
    statements = [Statement(a, b, f"{word} binds {word}") for (a, b), word in zip(pairs, words, strict=True)]
    path, store = sixty_four(tmp_path, statements), tmp_path / "kge.h5"
    width = 64
    vectors = np.random.default_rng(7).normal(size=(len(NODES), width)).astype(str)
    write_lines(tmp_path / "vectors.tsv", [[name, *row] for name, row in zip(NODES, vectors, strict=True)])
    write_lines(tmp_path / "walks.tsv", [[name, *draw.choices(NODES, k=5)] for name in NODES])
    build(vectors=str(tmp_path / "vectors.tsv"), walks=str(tmp_path / "walks.tsv"), output=str(store))
    sizes = ["model=fresh", "model.num_layers=1", "model.num_heads=2", "model.text_length=8", "model.dropout=0.0"]
    gentle = ["threads=1", "epochs=50", "batch.size=16", "optimizer.lr=1e-3", "warmup=0.2", "optimizer.weight_decay=0"]
    train(tmp_path / "out", path, store, *sizes, *gentle)
    assert accuracy(tmp_path / "out", path, store) >= 0.95  # chance is 0.34


def test_shuffled_labels_are_chance(kge_path: Path, tmp_path: Path) -> None:
    """The same texts with labels that follow from nothing, beside labels that follow from a word."""
    draw = random.Random(2)
    header = ["source", "target", "evidence", "kind", "chance"]
    rows = []
    for number in range(900):
        kind = draw.choice(("up", "down"))
        text = f"{draw.choice('abcdef')} {'raises' if kind == 'up' else 'lowers'} {draw.choice('uvwxyz')} {number}"
        rows.append([*draw.sample(NODES[4:], 2), text, kind, draw.choice(("up", "down"))])
    path = write_lines(tmp_path / "rows.tsv", [header, *rows])
    sizes = ["model=fresh", "model.num_layers=1", "model.num_heads=2", "model.text_length=16", "model.dropout=0.0"]
    given = ["task=polarity", f"source.path={path}", f"kge.path={kge_path}", "optimizer.lr=1e-2", "epochs=6", *sizes]
    found = {}
    for column in ("kind", "chance"):
        arguments = [*given, f"task.column={column}", f"output_dir={tmp_path / column}", "protocol.test=0.4"]
        assert main(["train", *arguments, "logger=none"]) == 0
        found[column] = json.loads((tmp_path / column / "metrics.json").read_text())["test"]["auroc"]
    assert found["kind"] > 0.99
    assert abs(found["chance"] - 0.5) < 0.1  # of 360 rows: three standard deviations are 0.09


def test_a_sweep_over_folds(kge_path: Path, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where hydra leaves its multirun.yaml
    rows = [[NODES[4], NODES[5], f"{number} {kind}", kind] for number in range(60) for kind in ("up", "down")]
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "polarity"], *rows])
    given = ["task=polarity", f"source.path={path}", f"kge.path={kge_path}", f"model.path={model_path}", "epochs=1"]
    more = ["protocol=folds", "protocol.fold=0,1,2,3,4", f"output_dir={tmp_path / 'out'}", "logger=none"]
    assert main(["train", "--multirun", *given, *more]) == 0
    values = [json.loads((tmp_path / "out" / str(fold) / "metrics.json").read_text()) for fold in range(5)]
    assert sum(value["test"]["rows"] for value in values) == 120
    assert [value["protocol"].partition(",")[2][:13] for value in values] == [f" fold {n} of 5," for n in range(1, 6)]


def test_the_shim_is_there() -> None:
    assert "stonkgs train" in (ROOT / "train.py").read_text()
