"""The two contracts of what learns and what rates: one law for every rater, and a start of somebody's own."""

import json
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import NODES, write_lines
from torch import Tensor

pytest.importorskip("sklearn")

from stonkgs.batch import Batch, window_batches
from stonkgs.cli import main
from stonkgs.config import Stage
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.model.predictor import Predictor
from stonkgs.model.rater import Rater
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement
from stonkgs.tables.columns import as_columns
from stonkgs.train.start import Learned, Start, Training
from stonkgs.train.starts import start_of
from stonkgs.train.tfidf import TfIdf

SCHEMA = pa.schema([(role, pa.string()) for role in ROLES])
ROWS = [Statement(NODES[n % 7], NODES[n % 5], f"HIF1A {('falls', 'rises', 'stays')[n % 3]} {n % 4}") for n in range(60)]
COLUMNS = partial(as_columns, schema=SCHEMA, roles={role: role for role in ROLES})


def counted(several: bool, nodes: bool = False) -> TfIdf:
    model = TfIdf(nodes=nodes)
    targets = [n % 3 for n in range(60)]
    model.fit(ROWS, np.eye(3, dtype=bool)[targets] if several else targets, ("down", "up", "none"))
    return model


@pytest.fixture(params=["predictor", "words", "words, several"])
def rater(request: pytest.FixtureRequest, model_path: Path, kge_path: Path) -> Rater:
    if request.param == "predictor":
        return Predictor(str(model_path), str(kge_path), device="cpu")
    return counted(several="several" in request.param)


def rated(rater: Rater, rows: list[Statement], size: int) -> Tensor:
    """Probabilities in the order of the rows, by an encoder as a worker gets it."""
    encoder = pickle.loads(pickle.dumps(rater.encoder()))
    found = torch.full((len(rows), len(rater.labels)), torch.nan)
    for batch in window_batches(rows, encoder, size=size, columns=COLUMNS):
        probabilities = rater(batch)
        assert probabilities.dtype == torch.float32
        found[batch.positions] = probabilities.cpu()
    return found


def test_every_rater_keeps_the_contract(rater: Rater) -> None:
    together = rated(rater, ROWS, 16)
    assert ((together >= 0) & (together <= 1)).all()
    assert rater.multi_label or torch.allclose(together.sum(dim=1), torch.ones(60))
    assert torch.allclose(rated(rater, ROWS, 1), together, rtol=0, atol=1e-6), "a row's do not depend on the others"
    assert rated(rater, [], 16).shape == (0, len(rater.labels))
    assert len(rater.digest) >= 40
    assert rater.digest == rater.digest


def test_a_digest_tells_raters_apart(model_path: Path, kge_path: Path) -> None:
    words = [counted(several=False), counted(several=True), counted(several=False, nodes=True), TfIdf()]
    assert len({rater.digest for rater in words}) == 4
    assert counted(several=False).digest == words[0].digest == pickle.loads(pickle.dumps(words[0])).digest
    predictor = Predictor(str(model_path), str(kge_path), device="cpu")
    before = predictor.digest
    assert Predictor(str(model_path), str(kge_path), device="cpu").digest == before
    with torch.no_grad():
        next(predictor.model.parameters()).view(-1)[0] += 1e-3
    assert predictor.digest != before


class Prior(Rater):
    """Says of every row how frequent the classes are."""

    def __init__(self, labels: tuple[str, ...], shares: list[float]) -> None:
        self._labels, self.shares = labels, shares

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def multi_label(self) -> bool:
        return False

    @property
    def digest(self) -> str:
        return "prior"

    def encoder(self) -> Encoder:
        return Encoder({})

    def __call__(self, batch: Batch) -> Tensor:
        return torch.tensor(self.shares).repeat(len(batch), 1)


class Frequent(Stage, Start):
    """A start of somebody's own."""

    def base(self, config: Mapping[str, Any]) -> str:
        return "frequencies"

    def learn(self, training: Training) -> Learned:
        targets = np.array([row.target for row in training.rows()])
        labels = training.census.classes.labels
        return Learned(Prior(labels, [float((targets == number).mean()) for number in range(len(labels))]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_start_of_ones_own(tmp_path: Path, kge_path: Path, workers: int) -> None:
    """Nothing of the project knows it, and it is counted, trained, rated in workers, and told of as any other."""
    rows = [[NODES[n % 9], NODES[n % 7], f"text {n}", "no" if n % 4 else "yes"] for n in range(80)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "label"], *rows])
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv", f"output_dir={tmp_path}/out"]
    own = ["~model", f"+model._target_={__name__}.Frequent", "task.name=label", f"num_workers={workers}"]
    assert main(["train", *own, *paths]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["base"] == "frequencies"
    assert record["temperature"] == 1.0
    assert record["metrics"]["test"]["accuracy"] == record["metrics"]["majority"]["accuracy"]
    assert not (tmp_path / "out" / "model").exists()
    assert not list((tmp_path / "out").glob("rated-*"))


def test_what_no_training_starts_from() -> None:
    with pytest.raises(UserError, match=r"a training cannot start from a Statement"):
        start_of(ROWS[0])
    assert isinstance(start_of(start := Frequent()), Frequent)
    assert start_of(start) is start
