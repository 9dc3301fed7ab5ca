"""Computes the digest that identifies a model."""

import hashlib
from dataclasses import replace

import torch

from stonkgs.model.network import Network


def model_digest(model: Network) -> str:
    """Returns the SHA-256 of all that decides a model's results: configuration, tokenizer and weights."""
    config = replace(model.config, divisions=())  # what it was trained with decides nothing that is not in the weights
    digest = hashlib.sha256(config.to_json().encode())
    digest.update(model.text.tokenizer.to_str().encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        # As bytes, because numpy has no bfloat16. On a CPU this copies nothing.
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
