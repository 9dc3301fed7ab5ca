"""Defines the Embedder: turns batches into embeddings of statements, or of their texts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.config.values import check
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.model.answer import Embeddings, Responder
from stonkgs.model.loaded import Loaded
from stonkgs.model.memory import flags
from stonkgs.model.network import Network
from stonkgs.statement import Statement

#: What is embedded, and how: see `Embedder`.
What = Literal["pooled", "mean", "text"]


@dataclass(slots=True)
class Embedding:
    """A statement and its embedding."""

    statement: Statement
    #: float32 [H]
    embedding: npt.NDArray[np.float32]
    #: whether the nodes are in the store
    source_known: bool
    target_known: bool
    #: whether the sentence was longer than the model reads
    text_truncated: bool
    #: whether the relation is in the store; None if no relation is read
    relation_known: bool | None = None


class Embedder(Responder):
    """Embeds statements with a model, which needs no classifier: float32 [B, H].

    - `pooled`: what the classifier reads, which is the joint BERT's pooled output of [CLS]; of text_only, the text
      backbone's last hidden state of [CLS]; of graph_only, the largest value of each dimension over both walks
    - `mean`: the mean of the joint BERT's last hidden states over the text's tokens and the places of the graph half
      that hold a known node, or a known relation
    - `text`: the mean of the text backbone's last hidden states over the text's tokens; the graph is not read

    [CLS] and [SEP] are tokens of the text, padding is not. Raises UserError for what the architecture has not.
    """

    def __init__(self, loaded: Loaded, what: What = "pooled") -> None:
        check("what", what, What)
        known = loaded.model.embeddings()
        if what not in known:
            raise UserError(f"what={what}: {loaded.model.architecture} has {' and '.join(known)} embeddings alone")
        self.loaded = loaded
        self.what = what
        self._embed = known[what]

    @property
    def answer(self) -> Embeddings:
        """A vector as long as the model is wide."""
        return Embeddings(self.loaded.model.config.dimension)

    @property
    def digest(self) -> str:
        """SHA-256 of the model's current configuration, tokenizer and weights. The store has its own digest."""
        return self.loaded.digest

    @property
    def reads(self) -> Mapping[str, str]:
        """The columns of rows that are read beside source, target and evidence, and the key that names each."""
        return {} if self.what == "text" else self.loaded.reads

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are mapped into memory."""
        return self.loaded.files

    @property
    def module(self) -> Network:
        """The model."""
        return self.loaded.model

    def encoder(self) -> Encoder:
        """Returns the encoder of this model's examples; of the text alone where nothing else is embedded."""
        return self.loaded.encoder(("text",) if self.what == "text" else None)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Returns embeddings, float32 [B, H], on the model's device. Raises UserError if one is not finite."""
        return self.loaded.finite(self.loaded.computed(batch, self._embed, self.answer.dimension).float())

    def rows(self, batch: Batch, statements: Sequence[Statement]) -> Iterator[tuple[int, Embedding]]:
        """Yields (position, Embedding) for each row of a batch."""
        vectors = self(batch).cpu().numpy()
        for vector, position, told in zip(vectors, batch.positions.tolist(), flags(batch), strict=True):
            # A copy, so that a row that is kept does not keep its batch.
            yield position, Embedding(statements[position], vector.copy(), *told)
