"""BERT's layers, run for the positions that somebody asks for.

The modules, and so the names of the weights, are transformers'. Running them is ours: a last layer is needed for few
of its positions, and the joint BERT is fed with vectors at positions that leave gaps.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

# On a CPU, oneDNN keeps a compiled primitive of every shape that it has seen, 1024 by default. Texts come in all
# lengths, so that memory grew with the input by tens of MB; the shapes of one layer are fewer than 16. It is read at
# the first use, which is after this import.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")


def bert_modules(fields: Mapping[str, Any], *, words: bool, pooler: bool) -> nn.Module:
    """A BERT's modules; without its word embeddings where it is fed with vectors only."""
    bert = BertModel(BertConfig(**fields), add_pooling_layer=pooler)
    # Positions and segments are always given, and buffers that no checkpoint holds would stay on the meta device.
    del bert.embeddings.position_ids, bert.embeddings.token_type_ids
    if not words:
        del bert.embeddings.word_embeddings
    return bert


def embed(embeddings: Any, vectors: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
    """Vectors [B, S, H] with their positions [S] and segments [S] added, normalised: [B, S, H]."""
    added = vectors + embeddings.token_type_embeddings(segments) + embeddings.position_embeddings(positions)
    hidden: Tensor = embeddings.dropout(embeddings.LayerNorm(added))
    return hidden


def encode(bert: Any, hidden: Tensor, mask: Tensor | None, keep: int) -> Tensor:
    """All layers over [B, S, H]; the first `keep` positions of the result: [B, keep, H].

    `mask` is bool [B, S], True where there is something to attend to; None attends to everything.
    """
    attended = None if mask is None else mask[:, None, None, :]
    *layers, last = bert.encoder.layer
    for layer in layers:
        hidden = _layer(layer, hidden, attended, keep=hidden.shape[1])
    return _layer(last, hidden, attended, keep=keep)


def _layer(layer: Any, hidden: Tensor, mask: Tensor | None, *, keep: int) -> Tensor:
    """One layer over [B, S, H] for its first `keep` positions, which see all S: exact, the others are not asked for."""
    attention = layer.attention.self
    asked = hidden[:, :keep]

    def heads(vectors: Tensor) -> Tensor:
        return vectors.view(*vectors.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)

    context = functional.scaled_dot_product_attention(
        heads(attention.query(asked)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        attn_mask=mask,
        dropout_p=attention.dropout.p if layer.training else 0.0,
    )
    mixed = layer.attention.output(context.transpose(1, 2).flatten(2), asked)
    result: Tensor = layer.output(layer.intermediate(mixed), mixed)
    return result


def positions(start: int, stop: int, device: torch.device) -> Tensor:
    """int64 [stop - start]"""
    return torch.arange(start, stop, device=device)
