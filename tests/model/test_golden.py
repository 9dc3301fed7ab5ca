"""A published checkpoint's own numbers: the first implementation's outputs on 64 rows."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stonkgs.batch import collate
from stonkgs.encode.encoder import Example
from stonkgs.encode.walks import graph_half
from stonkgs.kge.shift import PUBLISHED_NUMBERS
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement


@pytest.fixture(scope="module")
def upstream(golden: Path) -> Path:
    return golden / "upstream"


@pytest.fixture(scope="module")
def predictor(upstream: Path, golden_kge: Path) -> Predictor:
    model = STonKGs.from_pretrained(str(upstream / "checkpoint"), tokenizer=str(upstream / "lm_backbone"))
    return Predictor(model, KgeStore(path=str(golden_kge)))


@pytest.fixture(scope="module")
def examples(upstream: Path, predictor: Predictor) -> list[Example]:
    lines = (upstream / "rows.jsonl").read_text("utf-8").splitlines()
    return predictor.encoder()([Statement(**json.loads(line)) for line in lines])


def batch_of(examples: list[Example]) -> Any:
    return collate(list(enumerate(examples)))


def test_input_ids_and_masks(upstream: Path, predictor: Predictor, examples: list[Example]) -> None:
    load = partial(np.load, allow_pickle=False)
    wanted, mask = load(upstream / "input_ids.npy"), load(upstream / "attention_mask.npy")
    segments = load(upstream / "token_type_ids.npy")
    number = predictor.kge.number
    for row, example in enumerate(examples):
        nodes = graph_half(predictor.kge, number(example.statement.source), number(example.statement.target))
        length = len(example.tokens)
        text = np.pad(example.tokens, (0, 256 - length))
        assert [*text, *(PUBLISHED_NUMBERS.get(node, node) for node in nodes.tolist())] == wanted[row].tolist(), (
            f"row {row}"
        )
        assert [1] * length + [0] * (256 - length) + [1] * 256 == mask[row].tolist(), f"row {row}"
    config = predictor.model.config
    assert (segments == ([0] * config.text_length + [1] * config.graph_length)).all()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_probabilities(upstream: Path, predictor: Predictor, examples: list[Example], size: int) -> None:
    parts = [predictor(batch_of(examples[start : start + size])).numpy() for start in range(0, 64, size)]
    assert close(np.concatenate(parts), upstream / "probabilities.npy", 2e-4)


def test_logits_against_float64(upstream: Path, predictor: Predictor, examples: list[Example]) -> None:
    with torch.inference_mode():
        logits = predictor.model(predictor.inputs(batch_of(examples))).numpy()
    assert close(logits, upstream / "logits.npy", 5e-4)
    assert close(logits, upstream / "logits_f64_reference.npy", 5e-4)


@pytest.mark.parametrize(
    ("checkpoint", "recorded"),
    [("checkpoint", "pooled"), ("pretrained_checkpoint", "pretrained_pooled_embeddings")],
)
def test_pooled(upstream: Path, predictor: Predictor, examples: list[Example], checkpoint: str, recorded: str) -> None:
    model = STonKGs.from_pretrained(str(upstream / checkpoint), tokenizer=str(upstream / "lm_backbone"))
    with torch.inference_mode():
        pooled = model.pooled(predictor.inputs(batch_of(examples))).numpy()
    assert close(pooled, upstream / f"{recorded}.npy", 5e-4)


def test_saved_as_ours_it_gives_the_same(
    tmp_path: Path, upstream: Path, predictor: Predictor, examples: list[Example]
) -> None:
    predictor.model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    again = Predictor(STonKGs.from_pretrained(str(tmp_path)), predictor.kge)
    assert torch.equal(again(batch_of(examples)), predictor(batch_of(examples)))


def close(values: npt.NDArray[Any], recorded: Path, tolerance: float) -> bool:
    wanted = np.load(recorded, allow_pickle=False)
    return values.shape == wanted.shape and float(np.abs(values - wanted).max()) < tolerance
