"""An architecture asks for what it reads, and the flow brings just that."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NODES
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stonkgs.batch import Batch, Batches, collate
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.inputs import Arrays, Input, Tensors
from stonkgs.encode.nodes import Found
from stonkgs.encode.text import Texts
from stonkgs.kge.store import KgeStore
from stonkgs.model.bert import bert_modules, read_text
from stonkgs.model.config import ModelConfig
from stonkgs.model.network import GraphOnly, Inputs, Network, STonKGs, TextOnly, Triple
from stonkgs.model.predictor import Predictor
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement


class Letters(Input):
    """How many letters the evidence has; the longest come first."""

    def encode(self, statements: Sequence[Statement]) -> list[int]:
        return [len(statement.evidence) for statement in statements]

    def order(self, value: int) -> int:
        return -value

    def collate(self, values: Sequence[int]) -> Arrays:
        return {"count": np.array(values, np.int32)}

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        return {"count": torch.from_numpy(arrays["count"]).to(weight)}


def claim(statement: Statement) -> str:
    """What a statement says, as a second text."""
    return f"{statement.source} and {statement.target}"


class Claimed(Network):
    """Reads two texts and a number, and no graph."""

    architecture = "claimed"

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"letters": Letters(), "text": Texts(self.text), "claim": Texts(self.text, of=claim)}

    def layers(self, config: ModelConfig) -> None:
        self.lm_backbone = bert_modules(config.lm_backbone, words=True, pooler=False)
        self.scale = nn.Parameter(torch.linspace(-0.5, 0.5, config.dimension))

    def pooled(self, inputs: Inputs) -> Tensor:
        texts = [self._read(inputs[name]) for name in ("text", "claim")]
        return texts[0] - texts[1] + inputs["letters"]["count"][:, None] * self.scale

    def _read(self, text: Tensors) -> Tensor:
        return read_text(self.lm_backbone, text["tokens"], text["lengths"], keep=1)[text["index"], 0]


@pytest.fixture
def predictor(model_path: Path, kge_path: Path) -> Predictor:
    small = STonKGs.from_pretrained(str(model_path))
    torch.manual_seed(0)
    network = Claimed(replace(small.config, architecture="claimed"), small.text).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return Predictor(network, KgeStore(path=kge_path))


@pytest.fixture
def batches(tmp_path: Path, predictor: Predictor) -> Batches:
    """50 rows in several splits, some of equal texts, every fifth target unknown."""
    rows = [(NODES[n % 9], NODES[n % 7] if n % 5 else "nobody", "abc " * (n % 11)) for n in range(50)]
    lines = ["\t".join([*row, str(n)]) for n, row in enumerate(rows)]
    (tmp_path / "rows.tsv").write_text("\n".join(["source\ttarget\tevidence\tn", *lines]) + "\n")
    source = TsvSource(path=str(tmp_path / "rows.tsv"))
    return Batches(source=source.reader(source.plan(20)), encoder=predictor.encoder(), size=4, window=100)


def statements(batches: Batches) -> list[Statement]:
    return [row for row in batches.reader if isinstance(row, Statement)]


@torch.inference_mode()
def by_hand(network: Claimed, statement: Statement) -> Any:
    """The probabilities of one row, without the flow."""
    tokens = [torch.tensor(ids.tolist()) for ids, _ in network.text([statement.evidence, claim(statement)])]
    first, second = (read_text(network.lm_backbone, ids[None], torch.tensor([len(ids)]))[0, 0] for ids in tokens)
    return network.classifier(first - second + len(statement.evidence) * network.scale).softmax(-1).numpy()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_model_with_inputs_of_its_own_predicts_through_the_flow(
    predictor: Predictor, batches: Batches, workers: int
) -> None:
    loader: DataLoader[Batch] = DataLoader(batches, batch_size=None, num_workers=workers)
    found: dict[int, Any] = {}
    for batch in filter(len, loader):
        assert list(batch.inputs) == ["letters", "text", "claim", "nodes"], "what it asks for, and what outputs tell"
        counts = batch.inputs["letters"]["count"].tolist()
        assert counts == sorted(counts, reverse=True), "sorted by its first input"
        assert len(batch.inputs["claim"]["tokens"]) == len({*batch.inputs["claim"]["index"].tolist()})
        for n, row in zip(batch.columns["n"].to_pylist(), predictor(batch).numpy(), strict=True):
            found[int(n)] = row
    assert isinstance(predictor.model, Claimed)
    wanted = [by_hand(predictor.model, statement) for statement in statements(batches)]
    assert sorted(found) == list(range(50))
    assert np.abs(np.array([found[n] for n in range(50)]) - wanted).max() < 1e-5
    assert np.std([row[0] for row in wanted]) > 0.05, "the rows differ"


def test_rows_in_memory_too(predictor: Predictor, batches: Batches) -> None:
    rows = statements(batches)
    assert isinstance(predictor.model, Claimed)
    for statement, answer in zip(rows, predictor.predict(rows, size=7, window=20), strict=True):
        wanted = by_hand(predictor.model, statement)
        assert np.abs(np.array(list(answer.probabilities.values())) - wanted).max() < 1e-5
        assert answer.target_known == (statement.target != "nobody"), "told whether or not the model reads nodes"


def test_it_pickles(batches: Batches) -> None:
    again: Batches = pickle.loads(pickle.dumps(batches))
    assert [batch.positions.tolist() for batch in again] == [batch.positions.tolist() for batch in batches]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(STonKGs, "text walks"), (Triple, "text triple"), (TextOnly, "text"), (GraphOnly, "walks")],
)
def test_each_architecture_gets_what_it_asks_for(
    kind: type[Network], asked: str, model_path: Path, kge_path: Path
) -> None:
    model = kind.part_of(model_path).with_classes(("no", "yes"))
    predictor = Predictor(model, KgeStore(path=kge_path))
    rows = [Statement(NODES[0], "nobody", "abc " * 30), Statement(NODES[1], NODES[2], "abc")]
    (example, other) = predictor.encoder()(rows)
    assert list(example.values) == [*asked.split(), "nodes"]
    assert (example.found, other.found) == ((Found.EXACT, Found.UNKNOWN), (Found.EXACT, Found.EXACT))
    batch = collate([(0, example), (1, other)])
    assert set(predictor.inputs(batch)) >= set(asked.split())
    assert batch.truncated.tolist() == [kind is not GraphOnly, False], "no text is cut where none is read"
    assert predictor(batch).shape == (2, 2)


def test_who_asks_for_nothing_gets_the_columns_alone() -> None:
    (example,) = Encoder({})([Statement("a", "b", "c")])
    batch = collate([(5, example)])
    assert (batch.positions.tolist(), batch.inputs) == ([5], {})
    assert (batch.found.tolist(), batch.truncated.tolist()) == ([[0, 0]], [False])
