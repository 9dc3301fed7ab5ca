"""The networks: the cross-modal transformer, and what all of its kind share: a text backbone, and a model folder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from stonkgs.config import Stage
from stonkgs.config.values import check
from stonkgs.encode.inputs import Input, Tensors
from stonkgs.encode.nodes import Nodes
from stonkgs.encode.text import TextEncoder, Texts
from stonkgs.encode.walks import SPECIALS, Walks
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model import checkpoint
from stonkgs.model.bert import bert_modules, embed, encode, positions
from stonkgs.model.config import ARCHITECTURES, ModelConfig
from stonkgs.model.weights import Weights

#: A Batch on the model's device: name of an input -> its tensors, see `stonkgs.encode`.
Inputs = Mapping[str, Tensors]


class Network(nn.Module, Stage, ABC):
    """Statement in, one logit a class out. An architecture writes `inputs`, `layers` and `pooled`.

    `text` is the model's tokenizer: a model is one folder.
    """

    #: its name in config.json and in `model.architecture=`
    architecture: ClassVar[str]
    #: the BERTs that `layers` makes, by the names of their fields of ModelConfig: a file's layers are counted first
    berts: ClassVar[tuple[str, ...]] = ()
    #: what it reads, for `stonkgs model info`
    reads: ClassVar[str] = "text and graph"
    #: whether fine-tuning leaves the text backbone as it was pre-trained where nobody says: as published
    freezes_backbone: ClassVar[bool] = False
    #: architecture -> its class
    known: ClassVar[dict[str, "type[Network]"]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Network.known[cls.architecture] = cls
        ARCHITECTURES[cls.architecture] = cls.berts

    def __init__(self, config: ModelConfig, text: TextEncoder) -> None:
        super().__init__()
        self.config = config
        self.text = text
        dropout = config.bert.get("classifier_dropout")
        self.dropout = nn.Dropout(config.bert.get("hidden_dropout_prob", 0.1) if dropout is None else dropout)
        self.layers(config)
        if config.labels:
            self.classifier = nn.Linear(config.dimension, len(config.labels))

    @abstractmethod
    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        """What this model asks of a statement, by name; rows are sorted by the first. `pooled` gets their tensors."""

    def nodes(self, kge: KgeStore) -> Nodes:
        """How this model finds its nodes in a store."""
        return Nodes(kge, match=kge.match or self.config.kge_match)

    def walks(self, kge: KgeStore) -> Walks:
        """The walks as this model's weights expect them."""
        return Walks(self.nodes(kge), legacy_node_shift=self.config.legacy_node_shift)

    @abstractmethod
    def layers(self, config: ModelConfig) -> None:
        """Make the modules below the classifier."""

    @abstractmethod
    def pooled(self, inputs: Inputs) -> Tensor:
        """What the classifier reads, [B, H], from the tensors of what `inputs` asks for."""

    def refresh(self) -> None:
        """Forget what was computed once from weights that have changed since."""
        return

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, tokenizer: str | None = None, labels: list[str] | None = None, calibrated: bool = True
    ) -> "Network":
        """Load a model folder, ours or as the first implementation left it, in eval mode.

        `tokenizer` is the folder of a published checkpoint's text backbone (vocab.txt, and its weights where the
        checkpoint lacks them). `labels` name the classes where the checkpoint does not. Without `calibrated` its
        probabilities are those before calibration. Raises UserError.
        """
        check("model.calibrated", calibrated, bool)
        config, text, weights = checkpoint.read(Path(path), tokenizer, labels)
        if not calibrated:
            config = replace(config, temperature=1.0)
        return cls.assemble(config, text, weights, path)

    @classmethod
    def published(cls, name: str) -> "Network":
        """Load a published model by its name, `species` for example; at its first use it is fetched and converted.

        `KgeStore.published()` is its store. Raises UserError.
        """
        # By name: fetching and converting stand above this room, and only this convenience reaches up to them.
        model_path = import_module("stonkgs.published.prepare").model_path
        return cls.from_pretrained(model_path(name))

    @staticmethod
    def assemble(config: ModelConfig, text: TextEncoder, weights: Weights, path: str | Path) -> "Network":
        """What was read from `path`, put together, in eval mode; UserError where it does not fit."""
        try:
            with torch.device("meta"):  # no time for random weights that are replaced at once
                network = Network.known[config.architecture](config, text)
        except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"{path}: config.json describes no BERT: {reason}") from error
        checkpoint.assign(network, weights, path)
        return network.float().eval()

    @classmethod
    def part_of(cls, path: str | Path, *, tokenizer: str | None = None) -> "Network":
        """This architecture's part of another model, without a classifier: what a baseline starts from."""
        config, text, weights = checkpoint.read(Path(path), tokenizer, None)
        config = replace(config, architecture=cls.architecture, labels=(), temperature=1.0)
        with torch.device("meta"):
            wanted = cls(config, text).state_dict()
        return cls.assemble(config, text, {name: weights[name] for name in wanted if name in weights}, path)

    def with_classes(self, labels: tuple[str, ...], *, multi_label: bool = False) -> Self:
        """This network with a classifier for these classes: as it is where it has just them, else a fresh one.

        A fresh one is drawn like BERT's: normal with a deviation of 0.02, by torch's global generator.
        """
        same = self.config.labels == labels and self.config.multi_label == multi_label
        self.config = replace(self.config, labels=labels, multi_label=multi_label, temperature=1.0)
        if not same:
            self.classifier = nn.Linear(self.config.dimension, len(labels))
            nn.init.normal_(self.classifier.weight, std=0.02)
            nn.init.zeros_(self.classifier.bias)
            self.classifier.to(self.device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    @property
    def padded_to(self) -> int | None:
        """The tokens of a text that the backbone reads, padding among them; None for the text's own."""
        return self.config.text_length if self.config.legacy_text_padding else None

    def save_pretrained(self, folder: str | Path, *, kge: KgeStore | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer: a folder that from_pretrained reads alone.

        A new folder appears whole or not at all. In one that exists, what is not of a model stays as it is, and an
        earlier model is replaced when the new one is on the disk, also that which these weights were loaded from.
        `kge` is the store that the model was trained with: its digest is recorded, and other stores are refused.
        """
        config = replace(self.config, kge_digest=kge.digest, kge_nodes=kge.nodes) if kge else self.config
        checkpoint.write(Path(folder), config, self.text, self.state_dict())

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits, [B, classes]."""
        logits: Tensor = self.classifier(self.dropout(self.pooled(inputs)))
        return logits


class STonKGs(Network):
    """The cross-modal transformer: a text backbone, and a joint BERT over text and walks."""

    architecture = "stonkgs"
    berts = ("bert", "lm_backbone")
    freezes_backbone = True
    #: float32 [3, H]: what stands for an unknown node, a separator, a masked node
    specials: Tensor | None

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"text": Texts(self.text), "walks": self.walks(kge)}

    def layers(self, config: ModelConfig) -> None:
        self.lm_backbone = bert_modules(config.lm_backbone, words=True, pooler=False)
        # It has no words of its own: whatever their number is, they are not made.
        self.bert: Any = bert_modules({**config.bert, "vocab_size": 1}, words=False, pooler=True)
        # Not saved: it follows from the backbone's weights.
        self.register_buffer("specials", None, persistent=False)

    def refresh(self) -> None:
        self.specials = None

    def pooled(self, inputs: Inputs) -> Tensor:
        """The joint BERT's pooled output, [B, H]."""
        texts, walks = inputs["text"], inputs["walks"]
        text = read_text(self.lm_backbone, texts["tokens"], texts["lengths"], padded_to=self.padded_to)
        vectors = torch.cat([self.special_vectors(), walks["vectors"]])
        both = torch.cat([text[texts["index"]], functional.embedding(walks["graph"], vectors)], dim=1)
        hidden = embed(self.bert.embeddings, both, *self._places(text.shape[1], both.device))
        # Padding columns of the whole batch are not there; what is shorter than the batch's longest text is masked.
        real = positions(0, both.shape[1], both.device) < texts["lengths"][texts["index"]][:, None]
        real[:, text.shape[1] :] = True
        cls = encode(self.bert, hidden, real, keep=1)
        pooled: Tensor = self.bert.pooler(cls)
        return pooled

    def _places(self, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Positions and segments [tokens + G]: the graph half keeps its own, however short the texts are."""
        start, stop = self.config.text_length, self.config.text_length + self.config.graph_length
        place = torch.cat([positions(0, tokens, device), positions(start, stop, device)])
        return place, (place >= start).long()

    def special_vectors(self) -> Tensor:
        """[3, H]: the backbone's last hidden state of [UNK], [SEP], [MASK], each alone and in eval mode."""
        if self.specials is None:
            tokens = torch.tensor(self.config.special_tokens, device=self.device)[:, None]
            training = self.lm_backbone.training
            self.lm_backbone.eval()
            # Kept beyond this call, also where it is first made in a prediction: a tensor of inference mode could not
            # be trained with.
            with torch.inference_mode(False), torch.no_grad():
                self.specials = read_text(self.lm_backbone, tokens, torch.ones_like(tokens[:, 0]))[:, 0]
            self.lm_backbone.train(training)
        return self.specials


class TextOnly(Network):
    """The first implementation's baseline of the text alone: the backbone's [CLS], and a linear layer."""

    architecture = "text_only"
    berts = ("lm_backbone",)
    reads = "the text alone"

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"text": Texts(self.text)}

    def layers(self, config: ModelConfig) -> None:
        self.lm_backbone = bert_modules(config.lm_backbone, words=True, pooler=False)

    def pooled(self, inputs: Inputs) -> Tensor:
        """The backbone's last hidden state of [CLS], [B, H]."""
        text = inputs["text"]
        cls = read_text(self.lm_backbone, text["tokens"], text["lengths"], padded_to=self.padded_to, keep=1)
        return cls[text["index"], 0]


class GraphOnly(Network):
    """The first implementation's baseline of the graph alone: the walks' vectors, their maximum, a linear layer."""

    architecture = "graph_only"
    reads = "the graph alone"

    def inputs(self, kge: KgeStore) -> Mapping[str, Input]:
        return {"walks": self.walks(kge)}

    def layers(self, config: ModelConfig) -> None:
        self.dropout = nn.Dropout(0.1)  # as published, whatever the transformer's is

    def pooled(self, inputs: Inputs) -> Tensor:
        """The largest value of each dimension over both walks, [B, H]; zeros where neither node is known."""
        vectors = inputs["walks"]["vectors"]
        nowhere = torch.full_like(vectors[:1], -torch.inf).expand(SPECIALS, -1)
        highest = functional.embedding(inputs["walks"]["graph"], torch.cat([nowhere, vectors])).amax(dim=1)
        return highest.masked_fill(highest.isinf(), 0.0)


def read_text(
    backbone: Any, tokens: Tensor, lengths: Tensor, *, padded_to: int | None = None, keep: int | None = None
) -> Tensor:
    """The backbone's last hidden state of [U, T] tokens, of the first `keep` of them: [U, keep, H].

    With `padded_to` there are that many, and padding is read like text.
    """
    longest = tokens.shape[1]
    mask = None if padded_to else positions(0, longest, tokens.device) < lengths[:, None]
    tokens = functional.pad(tokens, (0, padded_to - longest)) if padded_to else tokens
    place = positions(0, tokens.shape[1], tokens.device)
    words = backbone.embeddings.word_embeddings(tokens)
    hidden = embed(backbone.embeddings, words, place, torch.zeros_like(place))
    return encode(backbone, hidden, mask, keep=keep or longest)
