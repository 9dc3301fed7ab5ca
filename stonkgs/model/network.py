"""Defines the networks: the cross-modal transformers, and the two baselines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stonkgs.config.values import check
from stonkgs.encode.inputs import Input
from stonkgs.encode.text import Texts
from stonkgs.encode.triple import LENGTH, Triples
from stonkgs.encode.walks import SPECIALS, GraphHalf
from stonkgs.kge.store import KgeStore
from stonkgs.model.base import RELATION, Inputs, Network, check_walks
from stonkgs.model.bert import bert_modules, embed, encode, mean, positions, read_text
from stonkgs.model.config import ModelConfig

__all__ = [
    "RELATION", "GraphOnly", "Inputs", "Network", "STonKGs", "TextOnly", "Triple", "check_walks",
]  # fmt: skip


class STonKGs(Network):
    """The cross-modal transformer: a text backbone, and a joint BERT over text and walks."""

    architecture = "stonkgs"
    berts = ("bert", "lm_backbone")
    freezes_backbone = True
    #: the input that its graph half reads, a `GraphHalf`
    graph_half: ClassVar[str] = "walks"
    #: float32 [3, H]: the vectors of an unknown node, a separator and a masked node
    specials: Tensor | None

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"text": Texts(self.text), self.graph_half: self.graph(kge)}

    def graph(self, kge: KgeStore) -> GraphHalf[Any]:
        """Returns the input of the graph half."""
        return self.walks(kge)

    def layers(self, config: ModelConfig) -> None:
        self.lm_backbone = bert_modules(config.lm_backbone, words=True, pooler=False)
        # It has no word embeddings, so the size of its vocabulary does not matter.
        self.bert: Any = bert_modules({**config.bert, "vocab_size": 1}, words=False, pooler=True)
        # Not saved, because it follows from the backbone's weights.
        self.register_buffer("specials", None, persistent=False)

    def refresh(self) -> None:
        self.specials = None

    def embeddings(self) -> Mapping[str, Callable[[Inputs], Tensor]]:
        return {**super().embeddings(), "mean": self.mean}

    def pooled(self, inputs: Inputs) -> Tensor:
        """Returns the joint BERT's pooled output, [B, H]."""
        pooled: Tensor = self.bert.pooler(self._joint(inputs, keep=1)[0])
        return pooled

    def mean(self, inputs: Inputs) -> Tensor:
        """Returns the mean of the joint BERT's last hidden states, [B, H].

        It is over the text's tokens, [CLS] and [SEP] among them, and the places of the graph half that read a vector of
        the store: neither over padding, nor over separators, nor over unknown nodes. Each place counts alike.
        """
        graph = inputs[self.graph_half]["graph"]
        hidden, real = self._joint(inputs, keep=None)
        real[:, -graph.shape[1] :] = graph >= SPECIALS
        return mean(hidden, real)

    def states(self, inputs: Inputs) -> Tensor:
        """Returns the joint BERT's last hidden states, [B, T + G, H]: of the text's T columns, then of the graph."""
        return self._joint(inputs, keep=None)[0]

    def _joint(self, inputs: Inputs, *, keep: int | None) -> tuple[Tensor, Tensor]:
        """Returns the joint BERT's last hidden state of the first `keep` (by default all) places, [B, keep, H].

        The places are the T tokens of the batch's longest text and those of the graph half. The second tensor, bool
        [B, T + G], is False for padding.
        """
        texts, graph = inputs["text"], inputs[self.graph_half]
        text = read_text(self.lm_backbone, texts["tokens"], texts["lengths"], padded_to=self.padded_to)
        vectors = torch.cat([self.special_vectors(), graph["vectors"]])
        both = torch.cat([text[texts["index"]], functional.embedding(graph["graph"], vectors)], dim=1)
        hidden = embed(self.bert.embeddings, both, *self._places(text.shape[1], both.device))
        # The text half is as long as the batch's longest text. Padding of shorter texts is masked.
        real = positions(0, both.shape[1], both.device) < texts["lengths"][texts["index"]][:, None]
        real[:, text.shape[1] :] = True
        return encode(self.bert, hidden, real, keep=keep or both.shape[1]), real

    def _places(self, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns positions and segments [tokens + G]. Those of the graph half do not depend on the texts' length."""
        start, stop = self.config.text_length, self.config.text_length + self.config.graph_length
        place = torch.cat([positions(0, tokens, device), positions(start, stop, device)])
        return place, (place >= start).long()

    def special_vectors(self) -> Tensor:
        """Returns the backbone's last hidden state of [UNK], [SEP] and [MASK], each read alone in eval mode: [3, H]."""
        if self.specials is None:
            tokens = torch.tensor(self.config.special_tokens, device=self.device)[:, None]
            training = self.lm_backbone.training
            self.lm_backbone.eval()
            # The result is kept, so it must not be a tensor of inference mode: training could not use that later.
            with torch.inference_mode(False), torch.no_grad():
                self.specials = read_text(self.lm_backbone, tokens, torch.ones_like(tokens[:, 0]))[:, 0]
            self.lm_backbone.train(training)
        return self.specials


class Triple(STonKGs):
    """STonKGs whose graph half is source, relation, target and a separator: the first implementation's TransE variant.

    Its store holds relations beside nodes, from any method that learns vectors of both, and needs no walks.
    """

    architecture = "triple"
    reads = "text and triple"
    reads_walks = False
    reads_relation = True
    graph_half = "triple"

    @classmethod
    def graph_length(cls, walk_length: int) -> int:  # noqa: ARG003  # it does not depend on it
        return LENGTH

    def graph(self, kge: KgeStore) -> GraphHalf[Any]:
        config = self.config
        return Triples(self.nodes(kge), relation=config.relation_column, legacy_node_shift=config.legacy_node_shift)

    @classmethod
    def part_of(cls, path: str | Path, *, tokenizer: str | None = None, relation: str = "relation") -> "Network":
        """As of any architecture; `relation` is the input's column of the relation. A joint BERT over walks fits, too.

        It then reads the three vectors at the places where it has read the first nodes of the source's walk.
        """
        return cls._part_of(path, tokenizer, walk_length=0, relation_column=relation)


class TextOnly(Network):
    """The text-only baseline: a linear layer over the backbone's last hidden state of [CLS].

    The first implementation's baseline had BERT's pooler, a dense layer and tanh, in between. With `text_pooler` this
    one has it, too. By default it has not, because the pooler learned another task (whether one sentence follows the
    other), and because STonKGs reads no pooler of its backbone, so that its model folders hold none.
    """

    architecture = "text_only"
    berts = ("lm_backbone",)
    reads = "the text alone"
    reads_graph = False
    reads_walks = False

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"text": Texts(self.text)}

    def layers(self, config: ModelConfig) -> None:
        self.lm_backbone: Any = bert_modules(config.lm_backbone, words=True, pooler=config.text_pooler)

    @classmethod
    def part_of(cls, path: str | Path, *, tokenizer: str | None = None, pooler: bool = False) -> "Network":
        """As of any architecture; with `pooler`, with the text backbone's pooler, which published checkpoints have."""
        check("model.pooler", pooler, bool)
        return cls._part_of(path, tokenizer, text_pooler=pooler)

    def pooled(self, inputs: Inputs) -> Tensor:
        """Returns the backbone's last hidden state of [CLS], or what its pooler makes of that, [B, H]."""
        text = inputs["text"]
        cls = read_text(self.lm_backbone, text["tokens"], text["lengths"], padded_to=self.padded_to, keep=1)
        read: Tensor = self.lm_backbone.pooler(cls) if self.config.text_pooler else cls[:, 0]
        return read[text["index"]]


class GraphOnly(Network):
    """The first implementation's graph-only baseline: a linear layer over the maximum of the walks' vectors."""

    architecture = "graph_only"
    reads = "the graph alone"

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"walks": self.walks(kge)}

    def layers(self, config: ModelConfig) -> None:
        self.dropout = nn.Dropout(0.1)  # as in the first implementation, whatever the configuration says

    def pooled(self, inputs: Inputs) -> Tensor:
        """Returns the maximum of each dimension over both walks, [B, H]; zeros if neither node is known."""
        graph, vectors = inputs["walks"]["graph"], inputs["walks"]["vectors"]
        nowhere = vectors.new_full((SPECIALS, self.config.dimension), -torch.inf)  # a batch may have no known node
        highest = functional.embedding(graph, torch.cat([nowhere, vectors])).amax(dim=1)
        known = (graph >= SPECIALS).any(dim=1, keepdim=True)
        return highest.where(known, torch.zeros_like(highest))
