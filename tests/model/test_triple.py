"""The architecture triple: the first implementation's numbers, what it reads, and what is said where it cannot."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stonkgs.batch import collate
from stonkgs.encode.encoder import Example
from stonkgs.encode.walks import PUBLISHED_NUMBERS, UNKNOWN
from stonkgs.kge.build import build
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import Network, Triple
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement


@pytest.fixture(scope="module")
def transe(golden: Path) -> Path:
    return golden / "transe"


@pytest.fixture(scope="module")
def store(transe: Path, tmp_path_factory: pytest.TempPathFactory) -> KgeStore:
    path = tmp_path_factory.mktemp("transe") / "kge.h5"
    build(vectors=str(transe / "kge.tsv"), output=str(path))
    return KgeStore(path=path)


@pytest.fixture(scope="module")
def predictor(golden: Path, transe: Path, store: KgeStore) -> Predictor:
    model = Network.from_pretrained(transe / "checkpoint", tokenizer=str(golden / "upstream" / "lm_backbone"))
    return Predictor(model, store)


@pytest.fixture(scope="module")
def rows(transe: Path) -> list[dict[str, str]]:
    """The recorded rows. The first implementation left out the one of an unknown source."""
    with open(transe / "rows.tsv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    return found[:18] + found[19:]


@pytest.fixture(scope="module")
def examples(predictor: Predictor, rows: list[dict[str, str]]) -> list[Example]:
    statements = [Statement(row["source"], row["target"], row["evidence"], {"relation": row["relation"]}) for row in rows]
    return predictor.encoder()(statements)


def batch_of(examples: list[Example]) -> Any:
    return collate(list(enumerate(examples)))


def test_input_ids(transe: Path, predictor: Predictor, examples: list[Example]) -> None:
    wanted = np.load(transe / "input_ids.npy", allow_pickle=False)
    for row, example in zip(wanted, examples, strict=True):
        text = np.pad(example.tokens, (0, 256 - len(example.tokens)))
        half = [predictor.kge.number(name) for name in (example.statement.source, example.statement.extra["relation"], example.statement.target)]
        assert [*text, *half, 102] == row.tolist()
    assert predictor.model.config.graph_length == 4


def test_logits(transe: Path, predictor: Predictor, examples: list[Example]) -> None:
    logits = predictor.logits(batch_of(examples)).numpy()
    wanted = np.load(transe / "logits.npy", allow_pickle=False)
    print(np.abs(logits - wanted).max())
    assert np.abs(logits - wanted).max() < 5e-4
