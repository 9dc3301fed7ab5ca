"""The architecture triple: the first implementation's numbers, what it reads, and what is said where it cannot."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stonkgs.batch import collate
from stonkgs.cli import main
from stonkgs.encode.encoder import Example
from stonkgs.kge.build import build
from stonkgs.model.network import Network, Triple
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement

# ----------------------------------------------------------------------------------------------------- as published


@pytest.fixture(scope="module")
def transe(golden: Path) -> Path:
    return golden / "transe"


@pytest.fixture(scope="module")
def backbone(golden: Path) -> str:
    return str(golden / "upstream" / "lm_backbone")


@pytest.fixture(scope="module")
def predictor(transe: Path, backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """The recorded checkpoint, with its vectors alone: there are no walks."""
    path = tmp_path_factory.mktemp("transe") / "kge.h5"
    build(vectors=str(transe / "kge.tsv"), output=str(path))
    return Predictor(Network.from_pretrained(transe / "checkpoint", tokenizer=backbone), path)


@pytest.fixture(scope="module")
def examples(transe: Path, predictor: Predictor) -> list[Example]:
    """The recorded rows: the first implementation left out the one whose source is unknown."""
    with open(transe / "rows.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if predictor.kge.number(row["source"]) >= 0]
    return predictor.encoder()(
        [Statement(row["source"], row["target"], row["evidence"], {"relation": row["relation"]}) for row in rows]
    )


def batch_of(examples: list[Example]) -> Any:
    return collate(list(enumerate(examples)))


def recorded(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def test_input_ids_and_masks(transe: Path, predictor: Predictor, examples: list[Example]) -> None:
    number, wanted = predictor.kge.number, recorded(transe / "input_ids.npy")
    assert len(examples) == len(wanted) == 19
    for example, row, mask in zip(examples, wanted, recorded(transe / "attention_mask.npy"), strict=True):
        statement, length = example.statement, len(example.tokens)
        names = [statement.source, statement.extra["relation"], statement.target]
        assert [*np.pad(example.tokens, (0, 256 - length)), *map(number, names), 102] == row.tolist()
        assert mask.tolist() == [1] * length + [0] * (256 - length) + [1] * 4
    config = predictor.model.config
    assert (config.text_length, config.graph_length, config.walk_length) == (256, 4, 0)
    assert (recorded(transe / "token_type_ids.npy") == [0] * 256 + [1] * 4).all()


@pytest.mark.parametrize("size", [1, 7, 19])
def test_logits(transe: Path, predictor: Predictor, examples: list[Example], size: int) -> None:
    parts = [predictor.logits(batch_of(examples[start : start + size])).numpy() for start in range(0, 19, size)]
    assert np.abs(np.concatenate(parts) - recorded(transe / "logits.npy")).max() < 5e-4


def test_converted_it_gives_the_same(
    transe: Path, backbone: str, predictor: Predictor, examples: list[Example], tmp_path: Path, capsys: Any
) -> None:
    ours = tmp_path / "ours"
    command = ["model", "convert", str(transe / "checkpoint"), "--output", str(ours), "--tokenizer", backbone]
    assert main([*command, "--kge", predictor.kge.path]) == 0
    again = Predictor(ours, predictor.kge, device="cpu")
    assert torch.equal(again(batch_of(examples)), predictor(batch_of(examples)))
    capsys.readouterr()
    assert main(["model", "info", str(ours)]) == 0
    told = capsys.readouterr().out
    assert "reads          text and triple\n" in told
    assert "walk length    none is read\n" in told
    assert "relation       the column 'relation'\n" in told


def test_the_pretrained_one(transe: Path, backbone: str, predictor: Predictor, examples: list[Example]) -> None:
    model = Network.from_pretrained(transe / "pretrained_checkpoint", tokenizer=backbone)
    assert (type(model), model.config.labels) == (Triple, ())
    with torch.inference_mode():
        pooled = model.pooled(predictor.inputs(batch_of(examples)))
    assert pooled.shape == (19, 64)
    assert pooled.std(dim=0).min() > 0.01, "the rows differ"


def test_it_is_known_by_its_positions_too(transe: Path, backbone: str, predictor: Predictor, tmp_path: Path) -> None:
    """Where config.json names no architecture; and without the config.json of the text backbone."""
    vocabulary, unnamed = tmp_path / "vocabulary", tmp_path / "unnamed"
    vocabulary.mkdir()
    shutil.copy(f"{backbone}/vocab.txt", vocabulary)
    named = Network.from_pretrained(transe / "checkpoint", tokenizer=str(vocabulary))
    assert named.config == predictor.model.config
    shutil.copytree(transe / "checkpoint", unnamed)
    values = json.loads((unnamed / "config.json").read_text())
    del values["architectures"]
    (unnamed / "config.json").write_text(json.dumps(values))
    assert Network.from_pretrained(unnamed, tokenizer=backbone).config == predictor.model.config
