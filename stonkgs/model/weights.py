"""Weights on disk: safetensors, or torch files that are read as weights alone."""

import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from stonkgs.errors import UserError, printable

Weights = dict[str, Tensor]

#: Bytes. Kernels round differently over numbers that begin elsewhere; torch and its files keep to this.
ALIGNMENT = 64
#: safetensors' names of types
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def read_weights(folder: Path) -> Weights:
    """model.safetensors, or pytorch_model.bin read as weights alone: a pickle with anything else in it is refused.

    The same weights give the same bits whatever file they come from: they are mapped where they are aligned, as in
    what `write_weights` wrote, and copied where they are not.
    """
    path = folder / "model.safetensors"
    try:
        if path.exists():
            return _aligned(safetensors.torch.load_file(path))
        path = folder / "pytorch_model.bin"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about files that are refused in a line below
            # Files older than torch 1.6 are no zip archives and cannot be mapped.
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin") from None
    except pickle.UnpicklingError as error:  # torch's own words are advice on how to run the code after all
        raise UserError(
            f"{path}: not readable as weights alone: it is damaged, or holds objects that could run code; "
            "fetch it again, or as model.safetensors"
        ) from error
    except Exception as error:  # a damaged or hostile file fails in a dozen ways
        raise UserError(f"{path}: not readable as weights alone: {first_sentence(error)}; fetch it again") from error
    if not isinstance(weights, dict) or not all(type(key) is str and _plain(w) for key, w in weights.items()):
        raise UserError(f"{path}: not a table of weights")
    return _aligned(weights)


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write safetensors that can be mapped and are aligned, which the library's own writer leaves to chance."""
    # The format has no gaps: what would push the next one off its place comes last.
    order = sorted(weights, key=lambda key: (weights[key].nbytes % ALIGNMENT > 0, key))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key in order:
        start, end = end, end + weights[key].nbytes
        shape = list(weights[key].shape)
        header[key] = {"dtype": DTYPES[weights[key].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for key in order:  # a tensor at a time, and no copy on a CPU
            file.write(weights[key].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def first_sentence(error: Exception) -> str:
    """What of a library's message fits into one line of ours."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable((text or str(error)).strip().split("\n")[0].split(". ")[0])


def _plain(weight: Any) -> bool:
    """Whether this is a tensor with a place in the file for each of its numbers."""
    if not isinstance(weight, Tensor) or weight.layout is not torch.strided or weight.device.type != "cpu":
        return False
    return weight.nbytes <= weight.untyped_storage().nbytes()


def _aligned(weights: Weights) -> Weights:
    return {key: weight.clone() if weight.data_ptr() % ALIGNMENT else weight for key, weight in weights.items()}
