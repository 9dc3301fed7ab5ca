"""The heads of pre-training: they say which word was masked, which node, and whether text and graph belong together."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.checkpoint import HEADS, assign
from stonkgs.model.config import ModelConfig
from stonkgs.model.network import STonKGs
from stonkgs.model.weights import Weights, files_of, read_file, read_weights

#: How the names of the heads' weights begin in a file, as in a published checkpoint.
PREFIX = "cls."
#: What the losses and accuracies are of: masked words, masked nodes, pairs of text and graph.
GOALS = ("text", "entity", "pair")


class Places(NamedTuple):
    """Masked places of a batch: each one's row and its column in its half, and what stood there. All int64 [M]."""

    rows: Tensor
    columns: Tensor
    labels: Tensor


class Logits(NamedTuple):
    """What the heads say of a batch of B rows, with M masked words and K masked nodes."""

    #: [M, entries of the vocabulary]
    text: Tensor
    #: [K, nodes]
    entity: Tensor
    #: [B, 2]: that text and graph belong together, or not
    pair: Tensor


class _Predictions(nn.Module):
    """The heads for masked words and nodes, by the names of the first implementation."""

    def __init__(self, config: ModelConfig, nodes: int) -> None:
        super().__init__()
        width, entries = config.dimension, config.lm_backbone["vocab_size"]
        self.transform = BertPredictionHeadTransform(BertConfig(**config.bert))  # type: ignore[no-untyped-call]
        self.text_decoder = nn.Linear(width, entries, bias=False)
        self.entity_decoder = nn.Linear(width, nodes, bias=False)
        self.text_bias = nn.Parameter(torch.zeros(entries))
        self.entity_bias = nn.Parameter(torch.zeros(nodes))


class PretrainingHeads(nn.Module):
    """The heads over a model of `config` and a store of `nodes` nodes, with random weights as for BERT.

    The first implementation has biases for words and nodes, but adds them nowhere; `biased` adds them.
    """

    def __init__(self, config: ModelConfig, nodes: int, *, biased: bool) -> None:
        super().__init__()
        self.biased = biased
        #: whether their weights are those of a folder, not random ones
        self.known = False
        self.predictions = _Predictions(config, nodes)
        self.seq_relationship = nn.Linear(config.dimension, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for bias in (self.predictions.text_bias, self.predictions.entity_bias):
            bias.requires_grad_(biased)  # several processes wait for the gradient of each weight that may have one

    @property
    def nodes(self) -> int:
        """The number of nodes that it tells apart."""
        return self.predictions.entity_decoder.out_features

    def forward(self, hidden: Tensor, pooled: Tensor, text: Places, nodes: Places, width: int) -> Logits:
        """Returns logits for the masked places only, so that memory does not grow with the other 85%.

        `hidden` is [B, T + G, H], `pooled` [B, H]; `width` is T, where the graph half begins.
        """
        heads = self.predictions
        words: Tensor = heads.text_decoder(heads.transform(hidden[text.rows, text.columns]))
        entities: Tensor = heads.entity_decoder(heads.transform(hidden[nodes.rows, width + nodes.columns]))
        if self.biased:
            words, entities = words + heads.text_bias, entities + heads.entity_bias
        return Logits(words, entities, self.seq_relationship(pooled))

    def weights(self) -> Weights:
        """Returns the weights by their names in a file."""
        return {PREFIX + name: weight for name, weight in self.state_dict().items()}


def loss_sums(logits: Logits, text: Places, nodes: Places, pairs: Tensor) -> Tensor:
    """Returns the sums of cross-entropy over words, nodes and pairs (labels int64 [B]), float32 [3].

    The loss of pre-training is the sum of the three means (Balabin et al. 2022, doi:10.1093/bioinformatics/btac001).
    """
    labels = (text.labels, nodes.labels, pairs)
    losses = [
        functional.cross_entropy(values.float(), wanted, reduction="sum")
        for values, wanted in zip(logits, labels, strict=True)
    ]
    return torch.stack(losses)


def heads_of(network: STonKGs, kge: KgeStore, *, biased: bool) -> PretrainingHeads:
    """Returns the heads of the folder that a network was read from, or new ones, from torch's global random generator.

    Raises UserError if they are damaged, or those of a store with another number of nodes.
    """
    heads = PretrainingHeads(network.config, kge.nodes, biased=biased)
    kept = read_heads(network.folder) if network.folder else {}
    if kept:
        where = f"{network.folder}: heads of the pre-training"
        known = kept.get(f"{PREFIX}predictions.entity_decoder.weight")
        if known is not None and len(known) != kge.nodes:
            raise UserError(
                f"{where} tell {len(known):,} nodes apart, but {kge.path} has {kge.nodes:,}: give the store that they "
                "were trained with, or start from a model folder without them"
            )
        heads.known = True
        assign(heads, {name.removeprefix(PREFIX): weight.clone() for name, weight in kept.items()}, where)
        for bias in (heads.predictions.text_bias, heads.predictions.entity_bias):
            bias.requires_grad_(biased)
    return heads.float()


def read_heads(folder: Path) -> Weights:
    """Returns the weights of the heads in a model folder or a published checkpoint, as `PretrainingHeads.weights`.

    They are empty where it has none. Raises UserError for a damaged file.
    """
    if (folder / HEADS).exists():
        found = read_file(folder / HEADS)
    elif files_of(folder):
        found = read_weights(folder)
    else:
        return {}
    # A published checkpoint has aliases of the biases, and BERT's own decoder, which nothing reads.
    unread = (f"{PREFIX}predictions.decoder.", f"{PREFIX}predictions.bias")
    return {name: weight for name, weight in found.items() if name.startswith(PREFIX) and not name.startswith(unread)}
