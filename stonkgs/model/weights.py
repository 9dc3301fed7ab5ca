"""Reads and writes weights: safetensors files, and torch files without running code in them."""

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

#: Bytes. Kernels may round differently for tensors with another alignment. Torch and its files align to this.
ALIGNMENT = 64
#: The names of types in safetensors files.
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def read_weights(folder: Path) -> Weights:
    """Read model.safetensors, else pytorch_model.bin. Raises UserError, also if the pickle holds more than weights.

    Tensors are memory-mapped if they are aligned in the file, as `write_weights` aligns them, and copied if not. So
    equal weights give equal results, whatever file they come from.
    """
    path = folder / "model.safetensors"
    try:
        if path.exists():
            return _aligned(safetensors.torch.load_file(path))
        path = folder / "pytorch_model.bin"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about files that are refused below
            # Files from before torch 1.6 are not zip archives and cannot be mapped.
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin") from None
    except pickle.UnpicklingError as error:  # torch's message would explain how to run the code anyway
        raise UserError(
            f"{path}: not readable as weights alone: it is damaged, or holds objects that could run code; "
            "fetch it again, or as model.safetensors"
        ) from error
    except Exception as error:  # damaged or hostile files fail in many ways
        raise UserError(f"{path}: not readable as weights alone: {first_sentence(error)}; fetch it again") from error
    if not isinstance(weights, dict) or not all(type(key) is str and _plain(w) for key, w in weights.items()):
        raise UserError(f"{path}: not a table of weights")
    return _aligned(weights)


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a safetensors file whose tensors are aligned. The library's own writer does not align them."""
    # The format has no gaps, so tensors that would misalign the next one come last.
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
        for key in order:  # on a CPU this copies nothing
            file.write(weights[key].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message, printable, for use in a message of our own."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable((text or str(error)).strip().split("\n")[0].split(". ")[0])


def _plain(weight: Any) -> bool:
    """Return whether this is a dense CPU tensor whose storage holds all of its numbers."""
    if not isinstance(weight, Tensor) or weight.layout is not torch.strided or weight.device.type != "cpu":
        return False
    return weight.nbytes <= weight.untyped_storage().nbytes()


def _aligned(weights: Weights) -> Weights:
    return {key: weight.clone() if weight.data_ptr() % ALIGNMENT else weight for key, weight in weights.items()}
