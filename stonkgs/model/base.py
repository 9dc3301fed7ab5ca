"""Defines Network: what all architectures share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from stonkgs.config import Stage
from stonkgs.config.values import check
from stonkgs.encode.inputs import Input, Tensors
from stonkgs.encode.nodes import Nodes
from stonkgs.encode.text import TextEncoder
from stonkgs.encode.walks import Walks
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model import checkpoint
from stonkgs.model.bert import mean, positions, read_text
from stonkgs.model.config import ARCHITECTURES, Architecture, ModelConfig
from stonkgs.model.weights import Weights

#: The key that names the input's column of the relation.
RELATION = "model.relation"

#: What a network reads of a batch: name of an input -> its tensors; see `stonkgs.encode`.
Inputs = Mapping[str, Tensors]


class Network(nn.Module, Stage, ABC):
    """The base of all architectures. It gives one logit per class for each statement.

    An architecture implements `inputs`, `layers` and `pooled`. `text` is the model's tokenizer, which is saved with it.
    """

    #: its name in config.json and in `model.architecture=`
    architecture: ClassVar[str]
    #: the BERTs that `layers` makes, by the names of their fields in ModelConfig
    berts: ClassVar[tuple[str, ...]] = ()
    #: what it reads, for `stonkgs model info`
    reads: ClassVar[str] = "text and graph"
    #: whether it reads the vectors of a store
    reads_graph: ClassVar[bool] = True
    #: whether it reads walks: then its store must have some, of its length
    reads_walks: ClassVar[bool] = True
    #: whether it reads a statement's relation, from the input's column `config.relation_column`
    reads_relation: ClassVar[bool] = False
    #: whether fine-tuning freezes the text backbone by default
    freezes_backbone: ClassVar[bool] = False
    #: the folder that it was read from, if any
    folder: Path | None = None
    #: the files of weights that it was read from, which may be mapped into memory
    files: tuple[Path, ...] = ()
    #: architecture -> its class
    known: ClassVar[dict[str, "type[Network]"]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Network.known[cls.architecture] = cls
        ARCHITECTURES[cls.architecture] = Architecture(cls.berts, cls.reads_walks, cls.graph_length)

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
        """Returns this model's inputs by name. Rows are sorted by the first one; `pooled` gets the tensors of all."""

    @classmethod
    def graph_length(cls, walk_length: int) -> int:
        """Returns the length of the graph half: here walk, separator, walk, separator."""
        return 2 * walk_length + 2

    @property
    def columns(self) -> Mapping[str, str]:
        """The input's columns that it reads beside source, target and evidence, and the key that names each."""
        return {self.config.relation_column: RELATION} if self.reads_relation else {}

    def nodes(self, kge: KgeStore) -> Nodes:
        """Returns how this model finds nodes in a store."""
        return Nodes(kge, match=kge.match or self.config.kge_match)

    def walks(self, kge: KgeStore) -> Walks:
        """Returns the input `walks` as this model's weights expect it."""
        return Walks(self.nodes(kge), legacy_node_shift=self.config.legacy_node_shift)

    @abstractmethod
    def layers(self, config: ModelConfig) -> None:
        """Create the modules below the classifier."""

    @abstractmethod
    def pooled(self, inputs: Inputs) -> Tensor:
        """Returns what the classifier reads, [B, H], from the tensors of `inputs`."""

    def embeddings(self) -> Mapping[str, Callable[[Inputs], Tensor]]:
        """Returns by name what this architecture can embed a statement by; each gives [B, H] from inputs.

        `pooled` is what the classifier reads. `text` reads no other input than the one of this name.
        """
        return {"pooled": self.pooled, **({"text": self.text_mean} if "lm_backbone" in self.berts else {})}

    def text_mean(self, inputs: Inputs) -> Tensor:
        """Returns the mean of the text backbone's last hidden states over a text's tokens, [B, H].

        [CLS] and [SEP] are among the tokens, padding is not.
        """
        texts = inputs["text"]
        tokens, lengths = texts["tokens"], texts["lengths"]
        hidden = read_text(self.get_submodule("lm_backbone"), tokens, lengths, padded_to=self.padded_to)
        return mean(hidden, positions(0, tokens.shape[1], tokens.device) < lengths[:, None])[texts["index"]]

    def refresh(self) -> None:
        """Forget what was computed from the weights. Call this after they have changed."""
        return

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        tokenizer: str | None = None,
        labels: list[str] | None = None,
        calibrated: bool = True,
        relation: str | None = None,
    ) -> "Network":
        """Load a model folder, of this project or of the first implementation, in eval mode.

        `tokenizer` is the folder of a published checkpoint's text backbone: vocab.txt, and the weights if the
        checkpoint lacks them. `labels` rename the classes. Without `calibrated`, probabilities are those before
        calibration. `relation` is the input's name of the column that an architecture such as `triple` reads; None: as
        the model was trained. Raises UserError.
        """
        check("model.calibrated", calibrated, bool)
        config, text, weights = checkpoint.read(Path(path), tokenizer, labels)
        if not calibrated:
            config = replace(config, temperature=1.0)
        if relation is not None:
            config = _with_relation(config, relation, path)
        network = cls.assemble(config, text, weights, path)
        network.folder, network.files = Path(path), checkpoint.weight_files(Path(path), tokenizer)
        return network

    @classmethod
    def published(cls, name: str) -> "Network":
        """Load a published model by its name, for example `species`. The first use fetches and converts it.

        Its store is `KgeStore.published()`. Raises UserError.
        """
        # Imported by name: `published` builds on this package, so a plain import would be circular.
        model_path = import_module("stonkgs.published.prepare").model_path
        return cls.from_pretrained(model_path(name))

    @staticmethod
    def assemble(config: ModelConfig, text: TextEncoder, weights: Weights, path: str | Path) -> "Network":
        """Build a network from what was read from `path`, in eval mode. Raises UserError if it does not fit."""
        try:
            with torch.device("meta"):  # saves the time for random weights, which would be replaced at once
                network = Network.known[config.architecture](config, text)
        except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"{path}: config.json describes no BERT: {reason}") from error
        checkpoint.assign(network, weights, path)
        return network.float().eval()

    @classmethod
    def part_of(cls, path: str | Path, *, tokenizer: str | None = None) -> "Network":
        """Load this architecture's part of another model, without a classifier. Baselines are trained from it.

        The defects of a published checkpoint are in the weights of its joint BERT. A part without that does not inherit
        them: the first implementation's own baselines masked padding, and read each node's own vector.
        """
        return cls._part_of(path, tokenizer)

    @classmethod
    def _part_of(cls, path: str | Path, tokenizer: str | None, **changes: Any) -> "Network":
        config, text, weights = checkpoint.read(Path(path), tokenizer, None)
        config = replace(config, architecture=cls.architecture, labels=(), temperature=1.0, **changes)
        if "bert" not in cls.berts:
            config = replace(config, legacy_text_padding=False, legacy_node_shift=False)
        config = config.checked(str(path))
        with torch.device("meta"):
            wanted = cls(config, text).state_dict()
        return cls.assemble(config, text, {name: weights[name] for name in wanted if name in weights}, path)

    def with_classes(self, labels: tuple[str, ...], *, multi_label: bool = False) -> Self:
        """Give this network a classifier for these classes, and return it. It keeps a classifier that has them already.

        The weights of a new classifier are normal with a standard deviation of 0.02 (Devlin et al. 2019), from torch's
        global random generator.
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
        """The device of the weights."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    @property
    def padded_to(self) -> int | None:
        """The length to which the backbone reads padding as if it were text; None if it ignores padding."""
        return self.config.text_length if self.config.legacy_text_padding else None

    def without_classes(self) -> Self:
        """Take the classifier away, and return the network. It can then be pre-trained, or get other classes."""
        self.config = replace(self.config, labels=(), multi_label=False, temperature=1.0)
        if hasattr(self, "classifier"):
            del self.classifier
        return self

    def save_pretrained(self, folder: str | Path, *, kge: KgeStore | None = None, heads: Weights | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer to a folder that `from_pretrained` reads.

        A new folder appears complete or not at all. In an existing folder, an earlier model is replaced once the new
        one is on the disk, even if these weights were loaded from it; other files stay. `kge` is the store that the
        model was trained with: its digest is recorded, and other stores are then refused. `heads` are the weights of
        `PretrainingHeads`, which go to a file of their own: no prediction reads them. Raises UserError.
        """
        config = replace(self.config, kge_digest=kge.digest, kge_nodes=kge.nodes) if kge else self.config
        checkpoint.write(Path(folder), config, self.text, self.state_dict(), heads)

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns logits, [B, classes]."""
        logits: Tensor = self.classifier(self.dropout(self.pooled(inputs)))
        return logits


def check_walks(kge: KgeStore) -> None:
    """Raises UserError if the store has no walks, for a model that reads them."""
    if not kge.walk_length:
        raise UserError(f"{kge.path}: has no walks, which the model reads; build the store with them (--walks)")


def _with_relation(config: ModelConfig, relation: str, path: str | Path) -> ModelConfig:
    """Returns the configuration with another column of the relation. Raises UserError if the model reads none."""
    if not Network.known[config.architecture].reads_relation:
        raise UserError(f"{RELATION}={relation}: {path} reads no relation; leave this key out")
    return replace(config, relation_column=relation).checked(RELATION)
