"""Makes a small model with random weights, for training without a pre-trained one."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from stonkgs.config import Stage
from stonkgs.config.values import MOST, Count, Fraction, Range, checked
from stonkgs.encode.text import TextEncoder
from stonkgs.encode.vocabulary import learn_vocabulary
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.config import ARCHITECTURES, ModelConfig
from stonkgs.model.network import RELATION, Network, check_walks


class Fresh(Stage):
    """Describes a new model. `make` builds it, as wide as the store's vectors.

    `vocabulary` is a vocab.txt. Without one, a WordPiece vocabulary of `words` entries is learned from the training
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
    ) -> None:
        if architecture not in ARCHITECTURES:
            raise UserError(f"model.architecture={architecture}: there are {', '.join(ARCHITECTURES)}")
        if relation != "relation" and not Network.known[architecture].reads_relation:
            raise UserError(f"{RELATION}={relation}: model.architecture={architecture} reads no relation")
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

    def check(self, kge: KgeStore) -> None:
        """Raises UserError if the vocabulary is bad, or the store has no walks or a dimension that does not fit."""
        if self.vocabulary:
            text = TextEncoder(path=self.vocabulary, length=self.text_length)
            text.check(text.vocabulary_size)
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
        path = Path(self.vocabulary) if self.vocabulary else folder / "vocab.txt"
        if not self.vocabulary and not path.exists():  # if it exists, an earlier attempt has learned it
            learn_vocabulary(texts(), self.words, path)
        text = TextEncoder(path=str(path), length=self.text_length)
        numbers = text.tokenizer.get_vocab()
        config = self._config(kge, text.vocabulary_size, [numbers[token] for token in ("[UNK]", "[SEP]", "[MASK]")])
        return initialised(Network.known[self.architecture](config.checked("model"), text))

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
            lm_backbone=sizes,
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
