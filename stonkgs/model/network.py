"""The cross-modal transformer: a frozen text backbone, and a joint BERT over text and walks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from stonkgs.encode.kge import KgeStore
from stonkgs.encode.text import TextEncoder
from stonkgs.errors import UserError
from stonkgs.model import checkpoint
from stonkgs.model.bert import bert_modules, embed, encode, positions
from stonkgs.model.config import ModelConfig
from stonkgs.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Inputs:
    """A Batch on the model's device, its vectors gathered."""

    #: int64 [U, T], distinct texts, padded with 0
    tokens: Tensor
    #: int64 [U]
    lengths: Tensor
    #: int64 [B], each row's text
    text: Tensor
    #: float32 [M, H], distinct vectors of the store
    vectors: Tensor
    #: int64 [B, G]: 0 unknown, 1 separator, 2 mask, 3 + k for vectors[k]
    graph: Tensor


class STonKGs(nn.Module):
    """Statement in, one logit a class out. `text` is the model's tokenizer: a model is one folder."""

    #: float32 [3, H]: what stands for an unknown node, a separator, a masked node
    specials: Tensor | None

    def __init__(self, config: ModelConfig, text: TextEncoder) -> None:
        super().__init__()
        self.config = config
        self.text = text
        self.lm_backbone = bert_modules(config.lm_backbone, words=True, pooler=False)
        # It has no words of its own: whatever their number is, they are not made.
        self.bert: Any = bert_modules({**config.bert, "vocab_size": 1}, words=False, pooler=True)
        dropout = config.bert.get("classifier_dropout")
        self.dropout = nn.Dropout(config.bert.get("hidden_dropout_prob", 0.1) if dropout is None else dropout)
        if config.labels:
            self.classifier = nn.Linear(config.dimension, len(config.labels))
        # Not saved: it follows from the backbone's weights.
        self.register_buffer("specials", None, persistent=False)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, tokenizer: str | None = None, labels: list[str] | None = None
    ) -> Self:
        """Load a model folder, ours or as the first implementation left it, in eval mode.

        `tokenizer` is the folder of a published checkpoint's text backbone (vocab.txt, and its weights where the
        checkpoint lacks them). `labels` name the classes where the checkpoint does not. Raises UserError.
        """
        return cls.assemble(*checkpoint.read(Path(path), tokenizer, labels), path)

    @classmethod
    def assemble(cls, config: ModelConfig, text: TextEncoder, weights: Weights, path: str | Path) -> Self:
        """What was read from `path`, put together, in eval mode; UserError where it does not fit."""
        try:
            with torch.device("meta"):  # no time for random weights that are replaced at once
                network = cls(config, text)
        except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"{path}: config.json describes no BERT: {reason}") from error
        checkpoint.assign(network, weights, path)
        return network.float().eval()

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

    def pooled(self, inputs: Inputs) -> Tensor:
        """The joint BERT's pooled output, [B, H]."""
        text = self._read_text(inputs.tokens, inputs.lengths, padded=self.config.legacy_text_padding)
        vectors = torch.cat([self.special_vectors(), inputs.vectors])
        both = torch.cat([text[inputs.text], functional.embedding(inputs.graph, vectors)], dim=1)
        hidden = embed(self.bert.embeddings, both, *self._places(text.shape[1], both.device))
        # Padding columns of the whole batch are not there; what is shorter than the batch's longest text is masked.
        real = positions(0, both.shape[1], both.device) < inputs.lengths[inputs.text][:, None]
        real[:, text.shape[1] :] = True
        cls = encode(self.bert, hidden, real, keep=1)
        pooled: Tensor = self.bert.pooler(cls)
        return pooled

    def _places(self, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Positions and segments [tokens + G]: the graph half keeps its own, however short the texts are."""
        start, stop = self.config.text_length, self.config.text_length + self.config.graph_length
        place = torch.cat([positions(0, tokens, device), positions(start, stop, device)])
        return place, (place >= start).long()

    def _read_text(self, tokens: Tensor, lengths: Tensor, *, padded: bool) -> Tensor:
        """The backbone's last hidden state of [U, T] tokens: [U, T, H]. `padded` to text_length, padding is read."""
        longest = tokens.shape[1]
        if padded:
            tokens, mask = functional.pad(tokens, (0, self.config.text_length - longest)), None
        else:
            mask = positions(0, longest, tokens.device) < lengths[:, None]
        embeddings = self.lm_backbone.embeddings
        place = positions(0, tokens.shape[1], tokens.device)
        hidden = embed(embeddings, embeddings.word_embeddings(tokens), place, torch.zeros_like(place))  # type: ignore[operator, union-attr]
        return encode(self.lm_backbone, hidden, mask, keep=longest)

    def special_vectors(self) -> Tensor:
        """[3, H]: the backbone's last hidden state of [UNK], [SEP], [MASK], each alone and in eval mode."""
        if self.specials is None:
            tokens = torch.tensor(self.config.special_tokens, device=self.bert.pooler.dense.weight.device)[:, None]
            training = self.lm_backbone.training
            self.lm_backbone.eval()
            # Kept beyond this call, also where it is first made in a prediction: a tensor of inference mode could not
            # be trained with.
            with torch.inference_mode(False), torch.no_grad():
                self.specials = self._read_text(tokens, torch.ones_like(tokens[:, 0]), padded=False)[:, 0]
            self.lm_backbone.train(training)
        return self.specials
