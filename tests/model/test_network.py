"""The network against transformers' own BertModel, run in full on padded input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_inputs import network_inputs
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertModel

from stonkgs.encode.text import TextEncoder
from stonkgs.model.config import ModelConfig
from stonkgs.model.network import Inputs, STonKGs

WALK, TEXT, HIDDEN, WORDS = 4, 12, 16, 50
BERT: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
}


def make(*, legacy: bool) -> STonKGs:
    torch.manual_seed(1)
    config = ModelConfig(
        lm_backbone=BERT,
        bert=BERT,
        labels=("a", "b", "c"),
        text_length=TEXT,
        walk_length=WALK,
        special_tokens=(1, 2, 3),
        legacy_text_padding=legacy,
    )
    network = STonKGs(config, TextEncoder(path="none")).eval().double()
    for parameter in network.parameters():  # far from the small weights that hide mistakes
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def inputs(*, seed: int = 0) -> Inputs:
    """Five rows over four texts of 3 to 9 tokens, and graph halves with specials among 20 nodes."""
    random = np.random.default_rng(seed)
    lengths = torch.tensor([3, 5, 9, 9])
    tokens = torch.tensor(random.integers(4, WORDS, (4, 9)))
    tokens[torch.arange(9) >= lengths[:, None]] = 0
    return network_inputs(
        tokens=tokens,
        lengths=lengths,
        text=torch.tensor([0, 1, 1, 2, 3]),
        vectors=torch.tensor(random.normal(size=(20, HIDDEN))),
        graph=torch.tensor(random.integers(0, 23, (5, 2 * WALK + 2))),
    )


def full_bert(part: Any, *, words: bool) -> Any:
    """The library's model with the part's weights."""
    bert: Any = BertModel(BertConfig(**BERT), add_pooling_layer=not words).double()
    left = bert.load_state_dict(part.state_dict(), strict=False)
    assert left.unexpected_keys == []
    assert left.missing_keys == ([] if words else ["embeddings.word_embeddings.weight"])
    return bert.eval()


def reference(network: STonKGs, given: Inputs, *, legacy: bool) -> Tensor:
    """Every column, every layer and every position, as the first implementation runs them."""
    backbone, joint = full_bert(network.lm_backbone, words=True), full_bert(network.bert, words=False)
    texts, walks = given["text"], given["walks"]
    tokens = functional.pad(texts["tokens"], (0, TEXT - texts["tokens"].shape[1]))[texts["index"]]
    mask = (torch.arange(TEXT) < texts["lengths"][texts["index"]][:, None]).long()
    text = backbone(tokens, attention_mask=torch.ones_like(mask) if legacy else mask).last_hidden_state
    specials = torch.cat([backbone(torch.tensor([[token]])).last_hidden_state[0] for token in (1, 2, 3)])
    both = torch.cat([text, torch.cat([specials, walks["vectors"]])[walks["graph"]]], dim=1)
    ones = torch.ones_like(walks["graph"])
    output = joint(
        inputs_embeds=both,
        attention_mask=torch.cat([mask, ones], dim=1),
        token_type_ids=torch.cat([torch.zeros_like(mask), ones], dim=1),
    )
    logits: Tensor = network.classifier(output.pooler_output)
    return logits


@pytest.mark.parametrize("legacy", [False, True])
def test_equals_the_full_computation(legacy: bool) -> None:
    network, given = make(legacy=legacy), inputs()
    with torch.no_grad():
        difference = network(given) - reference(network, given, legacy=legacy)
    assert difference.abs().max() < 1e-12


def test_legacy_padding_matters() -> None:
    given = inputs()
    with torch.no_grad():
        assert (make(legacy=True)(given) - make(legacy=False)(given)).abs().max() > 1e-5


def test_alone_as_in_company() -> None:
    network, given = make(legacy=False), inputs()
    with torch.no_grad():
        together = network(given)
        for row in range(5):
            text = int(given["text"]["index"][row])
            alone = network_inputs(
                tokens=given["text"]["tokens"][text : text + 1, : given["text"]["lengths"][text]],
                lengths=given["text"]["lengths"][text : text + 1],
                text=torch.tensor([0]),
                vectors=given["walks"]["vectors"],
                graph=given["walks"]["graph"][row : row + 1],
            )
            assert (network(alone)[0] - together[row]).abs().max() < 1e-12


def test_special_vectors_follow_the_backbone_and_are_not_saved() -> None:
    network = make(legacy=False)
    assert network.special_vectors().shape == (3, HIDDEN)
    assert "specials" not in network.state_dict()
    network.train()
    network.specials = None
    assert torch.equal(network.special_vectors(), network.special_vectors())  # no dropout in them
    assert network.lm_backbone.training


def test_training_mode_has_dropout(model_path: Path) -> None:
    network = STonKGs.from_pretrained(str(model_path))
    assert not network.training
    network.train()
    given = network_inputs(
        tokens=torch.tensor([[2, 7, 3]]),
        lengths=torch.tensor([3]),
        text=torch.tensor([0]),
        vectors=torch.zeros(1, 16),
        graph=torch.zeros(1, network.config.graph_length, dtype=torch.long),
    )
    assert not torch.equal(network(given), network(given))
