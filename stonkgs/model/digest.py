"""What tells a model from another."""

import hashlib

import torch

from stonkgs.model.network import Network


def model_digest(model: Network) -> str:
    """sha256 of what decides a model's results, wherever it was read from: configuration, tokenizer and weights."""
    digest = hashlib.sha256(model.config.to_json().encode())
    digest.update(model.text.tokenizer.to_str().encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        # As bytes, because numpy has no bfloat16; a tensor at a time, and no copy on a CPU.
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
