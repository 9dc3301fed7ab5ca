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
from stonkgs.model.config import read_json

Weights = dict[str, Tensor]

#: Bytes. Kernels may round differently for tensors with another alignment. Torch and its files align to this.
ALIGNMENT = 64
#: Files of weights, the preferred one first.
FILES = ("model.safetensors", "pytorch_model.bin")
#: What the two weights of a layer norm were called -> what they are called.
OLD_NAMES = {"gamma": "weight", "beta": "bias"}
#: The names of types in safetensors files.
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def read_weights(folder: Path) -> Weights:
    """Read model.safetensors, else pytorch_model.bin, each whole or in shards. Raises UserError.

    It does so too if a pickle holds more than weights. Tensors are memory-mapped if they are aligned in the file, as
    `write_weights` aligns them, and copied if not. So equal weights give equal results, whatever file they come from.
    """
    for name in FILES:
        if (folder / name).exists():
            return _renamed(read_file(folder / name))
        if (index := folder / f"{name}.index.json").exists():
            return _renamed(_read_shards(index))
    if found := sorted(path.name for path in folder.glob("*-of-*") if path.suffix in (".safetensors", ".bin")):
        raise UserError(f"{folder}: {found[0]} is a shard of the weights, but their index is not there; fetch it too")
    raise UserError(f"{folder}: no weights: neither {' nor '.join(FILES)}")


def files_of(folder: Path) -> tuple[Path, ...]:
    """Returns the files that `read_weights` reads: one, or an index and its shards; none where it has none.

    Raises UserError for a damaged index.
    """
    for name in FILES:
        if (folder / name).exists():
            return (folder / name,)
        if (index := folder / f"{name}.index.json").exists():
            return (index, *(folder / shard for shard in sorted(set(_places(index).values()))))
    return ()


def read_file(path: Path) -> Weights:
    """Read one file of weights."""
    try:
        if path.suffix == ".safetensors":
            return _aligned(safetensors.torch.load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about files that are refused below
            # Files from before torch 1.6 are not zip archives and cannot be mapped.
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
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


def _read_shards(index: Path) -> Weights:
    """Read the weights that an index finds in several files of its folder. Raises UserError if some are not there."""
    places, weights = _places(index), Weights()
    for name in sorted(set(places.values())):
        weights |= read_file(index.parent / name)
    if lost := sorted(places.keys() - weights.keys()):
        raise UserError(f"{index}: the shard {places[lost[0]]} lacks {printable(lost[0])}; fetch it again")
    return weights


def _places(index: Path) -> dict[str, str]:
    """Returns which shard each weight is in. Raises UserError if the index is damaged, or a shard is not there."""
    places = read_json(index).get("weight_map")
    # A name with a folder in it could be any file of the machine.
    if not isinstance(places, dict) or not places or not all(map(_is_shard, places.values())):
        raise UserError(f"{index}: names no files of weights beside it as shards; fetch it again")
    if lost := sorted(name for name in set(places.values()) if not (index.parent / name).is_file()):
        raise UserError(f"{index}: the shard {lost[0]} is not there; fetch it too")
    return places


def _is_shard(name: Any) -> bool:
    """Returns whether this is the name of a file of weights, without a folder."""
    return isinstance(name, str) and Path(name).name == name and Path(name).suffix in (".safetensors", ".bin")


def _renamed(weights: Weights) -> Weights:
    """Returns weights by today's names: those of layer norms were once gamma and beta, as in bert-base-uncased."""
    names = {key: _todays_name(key) for key in weights}
    return {name if name == key or name not in weights else key: weights[key] for key, name in names.items()}


def _todays_name(key: str) -> str:
    stem, _, last = key.rpartition(".")
    return f"{stem}.{OLD_NAMES[last]}" if last in OLD_NAMES and stem.endswith("LayerNorm") else key


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
    """Returns the first sentence of an error's message, printable, for use in a message of our own."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable((text or str(error)).strip().split("\n")[0].split(". ")[0])


def _plain(weight: Any) -> bool:
    """Returns whether this is a dense CPU tensor whose storage holds all of its numbers."""
    if not isinstance(weight, Tensor) or weight.layout is not torch.strided or weight.device.type != "cpu":
        return False
    return weight.nbytes <= weight.untyped_storage().nbytes()


def _aligned(weights: Weights) -> Weights:
    return {key: weight.clone() if weight.data_ptr() % ALIGNMENT else weight for key, weight in weights.items()}
