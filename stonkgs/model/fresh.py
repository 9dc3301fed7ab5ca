"""Makes a new model with random weights, perhaps over a text backbone that has been trained."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from stonkgs.config import Stage
from stonkgs.config.values import MOST, Count, Fraction, Range, checked
from stonkgs.encode.text import TextEncoder, check_special
from stonkgs.encode.vocabulary import learn_vocabulary
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model import checkpoint
from stonkgs.model.checkpoint import backbone_weights
from stonkgs.model.config import ARCHITECTURES, ModelConfig, bert_fields, read_json
from stonkgs.model.network import RELATION, Network, check_walks
from stonkgs.model.weights import files_of

#: The name of a text backbone with random weights.
FRESH = "fresh"


class Fresh(Stage):
    """Describes a new model. `make` builds it, as wide as the store's vectors.

    `backbone` is the folder of a BERT in Hugging Face's format, which becomes the text backbone with its own tokenizer.
    Its layers are its own; `num_layers` are those of the joint BERT. With null or "fresh" the text backbone is random,
    and `vocabulary` is a vocab.txt; without one, a WordPiece vocabulary of `words` entries is learned from the training
    texts. `relation` is the input's column of the relation, for an architecture that reads it.
    """

    @checked("model")
    def __init__(
        self,
        *,
        architecture: str = "stonkgs",
        num_layers: Count = 2,
        num_heads: Count = 4,
        text_length: Annotated[int, Range(2, MOST)] = 128,
        dropout: Fraction = 0.1,
        vocabulary: str | None = None,
        words: Annotated[int, Range(100, MOST)] = 8000,
        relation: str = "relation",
        backbone: str | None = None,
    ) -> None:
        if architecture not in ARCHITECTURES:
            raise UserError(f"model.architecture={architecture}: there are {', '.join(ARCHITECTURES)}")
        if relation != "relation" and not Network.known[architecture].reads_relation:
            raise UserError(f"{RELATION}={relation}: model.architecture={architecture} reads no relation")
        self.backbone = None if backbone in (None, FRESH) else Path(str(backbone))
        if self.backbone and "lm_backbone" not in ARCHITECTURES[architecture].berts:
            raise UserError(f"model.backbone={backbone}: model.architecture={architecture} reads no text")
        if self.backbone and vocabulary:
            raise UserError(f"model.vocabulary={vocabulary}: model.backbone={backbone} has its own; leave it out")
        self.architecture = architecture
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.text_length = text_length
        self.dropout = dropout
        self.vocabulary = vocabulary
        self.words = words
        self.relation = relation

    @property
    def columns(self) -> Mapping[str, str]:
        """What `Network.columns` of the model will be."""
        return {self.relation: RELATION} if Network.known[self.architecture].reads_relation else {}

    @cached_property
    def _text_config(self) -> dict[str, Any]:
        """The configuration of the text backbone's own folder."""
        assert self.backbone
        return bert_fields(read_json(self.backbone / "config.json"), str(self.backbone / "config.json"))

    def backbone_files(self) -> tuple[Path, ...]:
        """Returns the files of the text backbone that decide its vectors; none if it is random."""
        if not self.backbone:
            return ()
        others = (self.backbone / name for name in ("config.json", "vocab.txt", "tokenizer.json"))
        return (*filter(Path.is_file, others), *files_of(self.backbone))

    def check(self, kge: KgeStore) -> None:
        """Raises UserError if the vocabulary or the backbone is bad, or the store's vectors or walks do not fit."""
        if self.backbone:
            width, longest = self._text_config["hidden_size"], self._text_config["max_position_embeddings"]
            if width != kge.dimension:
                raise UserError(
                    f"model.backbone={self.backbone}: gives vectors of {width}, but those of {kge.path} have "
                    f"{kge.dimension}: text and graph are read as one sequence; learn a store of {width}, or take "
                    "another backbone"
                )
            if self.text_length > longest:
                raise UserError(f"model.text_length={self.text_length}: {self.backbone} reads at most {longest}")
        if self.vocabulary or self.backbone:
            text = self._text(Path())
            text.check(self._text_config["vocab_size"] if self.backbone else text.vocabulary_size)
            check_special(text.path, text.tokenizer.get_vocab())
        if kge.dimension % self.num_heads:
            raise UserError(
                f"model.num_heads={self.num_heads}: the store's vectors of {kge.dimension} do not divide so"
            )
        if ARCHITECTURES[self.architecture].reads_walks:
            check_walks(kge)

    def make(self, kge: KgeStore, texts: Callable[[], Iterator[str]], folder: Path) -> Network:
        """Returns the model. Its weights come from torch's global random generator.

        A learned vocabulary is written to `folder`/vocab.txt. Raises UserError as `check` does, or for a bad one.
        """
        self.check(kge)
        learned = folder / "vocab.txt"
        if not (self.vocabulary or self.backbone or learned.exists()):  # if it is there, an earlier attempt has it
            learn_vocabulary(texts(), self.words, learned)
        text = self._text(learned)
        numbers = text.tokenizer.get_vocab()
        config = self._config(kge, text.vocabulary_size, [numbers[token] for token in ("[UNK]", "[SEP]", "[MASK]")])
        network = initialised(Network.known[self.architecture](config.checked("model"), text))
        if self.backbone:
            checkpoint.assign(network.get_submodule("lm_backbone"), backbone_weights(self.backbone), self.backbone)
        return network.float()

    def _text(self, learned: Path) -> TextEncoder:
        """Returns the tokenizer: that of the backbone, the given one, or the one that was `learned`."""
        path = Path(self.vocabulary) if self.vocabulary else learned
        if self.backbone:
            own = self.backbone / "tokenizer.json"
            path = own if own.exists() else self.backbone / "vocab.txt"
        return TextEncoder(path=str(path), length=self.text_length)

    def _config(self, kge: KgeStore, entries: int, special: list[int]) -> ModelConfig:
        graph_length = ARCHITECTURES[self.architecture].graph_length(kge.walk_length)
        sizes: dict[str, Any] = {
            "vocab_size": entries,
            "hidden_size": kge.dimension,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": 4 * kge.dimension,
            "max_position_embeddings": self.text_length + graph_length,
            "type_vocab_size": 2,
            "hidden_dropout_prob": self.dropout,
            # On a CPU, attention dropout takes a quarter of a small model's time: see benchmarks/README.md.
            "attention_probs_dropout_prob": 0.0,
        }
        unknown, separator, mask = special
        return ModelConfig(
            lm_backbone=self._text_config if self.backbone else sizes,
            bert=sizes,
            architecture=self.architecture,
            text_length=self.text_length,
            walk_length=kge.walk_length,
            relation_column=self.relation,
            special_tokens=(unknown, separator, mask),
        )


def initialised(network: Network) -> Network:
    """Draw random weights as for BERT (Devlin et al. 2019) and return the network.

    Weights are normal with a standard deviation of 0.02, biases 0, layer norms 1.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        network.refresh()
    return network
