"""Runs BERT's layers, the last one only for the positions that are needed.

The modules, and so the names of the weights, come from transformers. The code that runs them is our own because the
joint BERT reads vectors instead of tokens, at positions with gaps.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

# On a CPU, oneDNN caches a compiled primitive for each shape, 1024 by default. Texts have many lengths, so memory would
# grow by tens of MB. 16 is more than the shapes of one layer. oneDNN reads the variable at its first use, later.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")


def bert_modules(fields: Mapping[str, Any], *, words: bool, pooler: bool) -> nn.Module:
    """Returns a BERT's modules: with word embeddings if `words`, with a pooling layer if `pooler`."""
    bert = BertModel(BertConfig(**fields), add_pooling_layer=pooler)
    # No checkpoint holds these buffers, so they would stay on the meta device. They are not
    # needed, because positions and segments are always passed.
    del bert.embeddings.position_ids, bert.embeddings.token_type_ids
    if not words:
        del bert.embeddings.word_embeddings
    return bert


def embed(embeddings: Any, vectors: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
    """Add the embeddings of positions [S] and segments [S] to vectors [B, S, H], and normalise: [B, S, H]."""
    added = vectors + embeddings.token_type_embeddings(segments) + embeddings.position_embeddings(positions)
    hidden: Tensor = embeddings.dropout(embeddings.LayerNorm(added))
    return hidden


def encode(bert: Any, hidden: Tensor, mask: Tensor | None, keep: int) -> Tensor:
    """Run all layers over [B, S, H]. Returns the first `keep` positions of the result, [B, keep, H].

    `mask` is bool [B, S], False for positions that no other attends to. With None, all are attended to.
    """
    attended = None if mask is None else mask[:, None, None, :]
    *layers, last = bert.encoder.layer
    for layer in layers:
        hidden = _layer(layer, hidden, attended, keep=hidden.shape[1])
    return _layer(last, hidden, attended, keep=keep)


def _layer(layer: Any, hidden: Tensor, mask: Tensor | None, *, keep: int) -> Tensor:
    """Run one layer over [B, S, H] for its first `keep` positions, which attend to all S. The result is exact."""
    attention = layer.attention.self
    kept = hidden[:, :keep]

    def heads(vectors: Tensor) -> Tensor:
        return vectors.view(*vectors.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)

    context = functional.scaled_dot_product_attention(
        heads(attention.query(kept)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        attn_mask=mask,
        dropout_p=attention.dropout.p if layer.training else 0.0,
    )
    mixed = layer.attention.output(context.transpose(1, 2).flatten(2), kept)
    result: Tensor = layer.output(layer.intermediate(mixed), mixed)
    return result


def mean(hidden: Tensor, counted: Tensor) -> Tensor:
    """Returns the mean over those positions of [B, S, H] that are `counted`, bool [B, S]: float32 [B, H].

    A row must have one at least.
    """
    shares = counted.float() / counted.sum(dim=1, keepdim=True)
    return (hidden.float() * shares[:, :, None]).sum(dim=1)


def positions(start: int, stop: int, device: torch.device) -> Tensor:
    """Returns the numbers from `start` to below `stop`, int64."""
    return torch.arange(start, stop, device=device)


def read_text(
    backbone: Any, tokens: Tensor, lengths: Tensor, *, padded_to: int | None = None, keep: int | None = None
) -> Tensor:
    """Returns the backbone's last hidden state of the first `keep` (by default T) of tokens [U, T]: [U, keep, H].

    With `padded_to`, texts are padded to that length and the padding is read like text.
    """
    longest = tokens.shape[1]
    mask = None if padded_to else positions(0, longest, tokens.device) < lengths[:, None]
    tokens = functional.pad(tokens, (0, padded_to - longest)) if padded_to else tokens
    place = positions(0, tokens.shape[1], tokens.device)
    words = backbone.embeddings.word_embeddings(tokens)
    hidden = embed(backbone.embeddings, words, place, torch.zeros_like(place))
    return encode(backbone, hidden, mask, keep=keep or longest)
