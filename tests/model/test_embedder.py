"""Embeddings against plain computations, and of rows in memory."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NODES
from network_inputs import network_inputs
from transformers import BertConfig, BertModel

from stonkgs import KgeStore, Predictor, Rejection, Statement, STonKGs, UserError
from stonkgs.batch import collate
from stonkgs.model.bert import mean
from stonkgs.model.embedder import Embedder, What
from stonkgs.model.network import GraphOnly, Inputs, Network, TextOnly

WHAT: tuple[What, ...] = ("pooled", "mean", "text")


@pytest.fixture(scope="module")
def predictor(model_path: Path, kge_path: Path) -> Predictor:
    return Predictor(model_path, kge_path, device="cpu")


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "source": NODES[number % 7],
            "target": "nobody" if number % 5 == 0 else NODES[number % 11],
            "evidence": "HIF1A " * (number % 9),
        }
        for number in range(count)
    ]


def vectors(found: list[Any]) -> Any:
    return np.stack([one.embedding for one in found])


@pytest.mark.parametrize(
    ("checkpoint", "recorded"),
    [("checkpoint", "pooled"), ("pretrained_checkpoint", "pretrained_pooled_embeddings")],
)
def test_the_first_implementations_pooled_outputs(
    golden: Path, golden_kge: Path, checkpoint: str, recorded: str
) -> None:
    """Also of a checkpoint that was only pre-trained, and has no classes."""
    upstream = golden / "upstream"
    model = STonKGs.from_pretrained(str(upstream / checkpoint), tokenizer=str(upstream / "lm_backbone"))
    predictor = Predictor(model, KgeStore(path=str(golden_kge)))
    given = pd.read_json(upstream / "rows.jsonl", lines=True, dtype=False).to_dict("records")
    found = vectors(predictor.embed(given, size=7))
    assert np.abs(found - np.load(upstream / f"{recorded}.npy", allow_pickle=False)).max() < 5e-4


def full(part: torch.nn.Module, fields: Any, given: torch.Tensor, **options: Any) -> torch.Tensor:
    """The last hidden states of transformers' own model with a part's weights, every place attended to."""
    bert: Any = BertModel(BertConfig(**fields), add_pooling_layer="pooler.dense.weight" in part.state_dict())
    bert.load_state_dict(part.state_dict(), strict=False)
    key = "input_ids" if given.dim() == 2 else "inputs_embeds"
    states: torch.Tensor = bert.eval()(**{key: given}, **options).last_hidden_state
    return states


def test_means_against_transformers_own_model(model_path: Path) -> None:
    """Two rows, each alone, so that nothing is padded: known nodes in the one, one known walk in the other."""
    network: Any = Network.from_pretrained(model_path)
    length, half = network.config.walk_length, network.config.graph_length
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(9, network.config.dimension, generator=random)
    graph = torch.randint(3, 12, (2, half), generator=random)
    graph[:, [length, -1]] = 1
    graph[1, :length] = 0
    tokens = [torch.randint(4, 60, (1, size), generator=random) for size in (5, 9)]
    together = network_inputs(
        tokens=torch.cat([torch.nn.functional.pad(tokens[0], (0, 4)), tokens[1]]),
        lengths=torch.tensor([5, 9]),
        text=torch.tensor([0, 1]),
        vectors=vectors,
        graph=graph,
    )
    with torch.inference_mode():
        found = {what: embed(together) for what, embed in network.embeddings().items()}
        table = torch.cat([network.special_vectors(), vectors])
        for row, ids in enumerate(tokens):
            text = full(network.lm_backbone, network.config.lm_backbone, ids)
            places = [*range(ids.shape[1]), *range(network.config.text_length, network.config.text_length + half)]
            segments = torch.tensor([[0] * ids.shape[1] + [1] * half])
            both = torch.cat([text, table[graph[row]][None]], dim=1)
            options = {"position_ids": torch.tensor([places]), "token_type_ids": segments}
            states = full(network.bert, network.config.bert, both, **options)[0]
            nodes = [ids.shape[1] + place for place in range(half) if graph[row, place] >= 3]
            assert len(nodes) == (length if row else 2 * length)
            wanted = states[[*range(ids.shape[1]), *nodes]].mean(dim=0)
            torch.testing.assert_close(found["mean"][row], wanted, rtol=0, atol=1e-5)
            torch.testing.assert_close(found["text"][row], text[0].mean(dim=0), rtol=0, atol=1e-5)


def test_a_mean_is_of_what_is_counted() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    assert mean(hidden, torch.tensor([[True, True, False]])).tolist() == [[2.0, 4.0]]
    half = mean(torch.full((1, 300, 1), 1.01, dtype=torch.bfloat16), torch.ones(1, 300, dtype=torch.bool))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(float(torch.tensor(1.01, dtype=torch.bfloat16)), abs=1e-6)


@pytest.mark.parametrize("what", WHAT)
def test_alone_as_in_company_and_in_the_rows_order(predictor: Predictor, what: What) -> None:
    given = rows(30)
    alone = vectors([one for row in given for one in predictor.embed([row], what=what)])
    assert alone.dtype == np.float32
    assert alone.shape == (30, predictor.model.config.dimension)
    for window, size, workers in ((7, 3, 0), (30, 30, 0), (9, 4, 2)):
        found = list(predictor.embed_iter(given, what=what, window=window, size=size, num_workers=workers))
        assert [one.statement.extra["id"] for one in found] == list(range(30))
        assert np.abs(vectors(found) - alone).max() < 1e-6
    assert [one.target_known for one in found[:3]] == [False, True, True]
    assert {one.text_truncated for one in found} == {False, True}


def test_what_each_reads(predictor: Predictor) -> None:
    pairs = [Statement(NODES[0], NODES[1], "HIF1A"), Statement(NODES[2], "nobody", "HIF1A")]
    found = {what: vectors(predictor.embed(pairs, what=what)) for what in WHAT}
    assert np.array_equal(*found["text"]), "the graph is not read"
    assert all(np.abs(np.subtract(*found[what])).max() > 1e-3 for what in ("pooled", "mean"))
    for one, other in pairwise(found.values()):
        assert np.abs(one - other).max() > 1e-3
    assert set(Embedder(predictor, "text").encoder().inputs) == {"text", "nodes"}


def test_no_rows_and_no_numbers(predictor: Predictor, model_path: Path, kge_path: Path) -> None:
    assert predictor.embed([]) == []
    damaged = Predictor(model_path, kge_path, device="cpu")
    with torch.no_grad():
        next(damaged.model.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="the model gives values that are not numbers"):
        damaged.embed(rows(2))


def test_a_data_frame_gets_columns(predictor: Predictor) -> None:
    frame = pd.DataFrame(rows(6), index=list("abcdef"))
    frame.loc["c", "evidence"] = None
    rejected: list[Rejection] = []
    found = predictor.embed(frame, what="mean", on_rejected=rejected.append)
    assert list(found.index) == list("abdef")
    assert list(found.columns) == [*frame.columns, "embedding", "source_known", "target_known", "text_truncated"]
    wanted = vectors(predictor.embed(frame.drop("c").to_dict("records"), what="mean"))
    assert np.array_equal(np.stack(found["embedding"].tolist()), wanted)
    assert [one.row for one in rejected] == [3]
    with pytest.raises(UserError, match=r"the data frame has columns \['embedding'\].*rename or drop them"):
        predictor.embed(frame.assign(embedding=1))


def test_what_an_architecture_has_not(predictor: Predictor, model_path: Path, kge_path: Path) -> None:
    text = Predictor(TextOnly.part_of(model_path), kge_path)
    graph = Predictor(GraphOnly.part_of(model_path), kge_path)
    assert (
        np.abs(vectors(text.embed(rows(9), what="text")) - vectors(predictor.embed(rows(9), what="text"))).max() < 1e-6
    )
    store = KgeStore(path=str(kge_path))
    walks = [np.concatenate([store.walk(0), store.walk(1)]), store.walk(2)]
    pairs = [Statement(NODES[0], NODES[1], ""), Statement("nobody", NODES[2], "")]
    wanted = np.stack([store.gather(np.unique(walk)).max(axis=0) for walk in walks])
    np.testing.assert_array_equal(vectors(graph.embed(pairs)), wanted)
    absent: list[tuple[Predictor, What, str]] = [(text, "mean", "pooled and text"), (graph, "text", "pooled")]
    for one, what, has in [*absent, (graph, "mean", "pooled")]:
        with pytest.raises(UserError, match=rf"^what={what}: \w+_only has {has} embeddings alone$"):
            one.embed(pairs, what=what)
    with pytest.raises(UserError, match=r"^what=max: must be one of pooled, mean, text$"):
        predictor.embed_iter(pairs, what="max")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="size=0: must be a whole number of 1 or more"):
        predictor.embed(pairs, size=0)


def test_inputs_are_left_as_they_are(predictor: Predictor) -> None:
    """`mean` marks what it counts in a tensor of its own."""
    batch = collate(list(enumerate(predictor.encoder()([Statement(*row) for row in [("a", NODES[0], "x")] * 2]))))
    given: Inputs = predictor.inputs(batch)
    before = {name: {key: value.clone() for key, value in part.items()} for name, part in given.items()}
    with torch.inference_mode():
        predictor.model.embeddings()["mean"](given)
    for name, part in given.items():
        assert all(torch.equal(value, before[name][key]) for key, value in part.items())
