"""Reads and writes model folders: those of this project, and (read only) those of the first implementation."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stonkgs.disk import sync_folder
from stonkgs.encode.text import TextEncoder
from stonkgs.encode.triple import LENGTH as TRIPLE
from stonkgs.errors import UserError, printable
from stonkgs.model.config import ARCHITECTURES, ModelConfig, bert_fields, id2label, is_ours, read_json
from stonkgs.model.weights import Weights, first_sentence, read_weights, write_weights

#: Weights of a published checkpoint that prediction does not use.
UNUSED_WEIGHTS = ("cls.", "bert.embeddings.word_embeddings.", "lm_backbone.pooler.")
#: Buffers that old versions of transformers saved. They are ignored.
OLD_BUFFERS = (".position_ids", ".token_type_ids")

#: The files of a model folder. config.json is last: a folder without it is no model.
FILES = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json")

#: The file of a pre-trained model's heads, beside the others. Only a pre-training that goes on reads it.
HEADS = "pretraining.safetensors"

#: The architectures that config.json of the first implementation may name, and what they are here.
PUBLISHED_ARCHITECTURES = {
    "STonKGsForSequenceClassification": "stonkgs",
    "STonKGsForPreTraining": "stonkgs",
    "TransESTonKGsForSequenceClassification": "triple",
    "TransESTonKGsForPreTraining": "triple",
}


def read(folder: Path, tokenizer: str | None, labels: Any) -> tuple[ModelConfig, TextEncoder, Weights]:
    """Returns what a model folder holds, without building a network. Raises UserError if something does not fit.

    `tokenizer` and `labels` as for `Network.from_pretrained`.
    """
    config, text, weights = read_parts(folder, tokenizer)
    if text.path.endswith("vocab.txt") and not Path(text.path).is_file():
        lacks = "no vocab.txt" if Path(text.path).parent.exists() else "no such folder"
        raise UserError(
            f"{Path(text.path).parent}: {lacks}; a published checkpoint comes without its vocabulary: "
            "give the folder of its text backbone (dmis-lab/biobert-v1.1) as model.tokenizer="
        )
    text.check(config.lm_backbone["vocab_size"])
    return _with_labels(config, labels, folder), text, weights


def read_parts(folder: Path, tokenizer: str | None) -> tuple[ModelConfig, TextEncoder, Weights]:
    """Returns the same without reading the vocabulary, which may be missing."""
    where = str(folder / "config.json")
    values = read_json(folder / "config.json")
    weights = read_weights(folder)
    if is_ours(values):
        config, vocabulary = ModelConfig.load(values, where), folder / "tokenizer.json"
    else:
        _check_architecture(values, where)
        backbone = Path(tokenizer) if tokenizer else folder
        if not any(key.startswith("lm_backbone.") for key in weights):
            if backbone.is_dir() and backbone.samefile(folder):  # this folder's BERT is the joint one
                raise UserError(
                    f"{folder}: the weights lack those of the text backbone: "
                    "give its folder (dmis-lab/biobert-v1.1, with weights) as model.tokenizer="
                )
            weights |= {f"lm_backbone.{name}": weight for name, weight in backbone_weights(backbone).items()}
        config, vocabulary = _published_config(values, where, backbone, weights), backbone / "vocab.txt"
    _check_layers(config, weights, where)
    return config, TextEncoder(path=str(vocabulary), length=config.text_length), weights


def weight_files(folder: Path, tokenizer: str | None) -> tuple[Path, ...]:
    """Returns the files of weights that `read` may have mapped into memory."""
    folders = (folder, Path(tokenizer)) if tokenizer else (folder,)
    files = (place / name for place in folders for name in ("model.safetensors", "pytorch_model.bin"))
    return tuple(file for file in files if file.is_file())


def write(
    folder: Path,
    config: ModelConfig,
    text: TextEncoder,
    weights: Mapping[str, Tensor],
    heads: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model folder. A new one appears complete or not at all. Raises UserError if it cannot be written."""
    inside = folder.is_dir()
    # Stage inside an existing folder: it may be a mount point, and its parent may not be writable.
    staging = folder / f".tmp-{os.getpid()}" if inside else folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        if heads is not None:
            write_weights(staging / HEADS, heads)
        _write_files(staging, config, text, weights)
        if inside:
            _replace(staging, folder)
        else:
            staging.rename(folder)
            sync_folder(folder.parent)
    except UserError:
        raise
    except Exception as error:  # the tokenizers library has its own error for a full disk
        raise UserError(f"{folder}: cannot be written: {first_sentence(error)}; name a folder with room") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(folder: Path, config: ModelConfig, text: TextEncoder, weights: Mapping[str, Tensor]) -> None:
    """Write all FILES, and flush them and what else is there to the disk."""
    write_weights(folder / "model.safetensors", weights)
    text.save(folder)
    config.save(folder)
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _replace(staging: Path, folder: Path) -> None:
    """Move FILES. If interrupted, this leaves a folder without a config.json, never a mixture of two models."""
    (folder / "config.json").unlink(missing_ok=True)
    (folder / HEADS).unlink(missing_ok=True)  # an earlier model's
    for name in (HEADS, *FILES):
        if (staging / name).exists():
            (staging / name).replace(folder / name)
    sync_folder(folder)


def assign(network: nn.Module, weights: Weights, path: str | Path) -> None:
    """Give the network these weights. Raises UserError if one is missing, unknown, or of another shape."""
    wanted = network.state_dict()
    given = {
        k: w for k, w in weights.items() if k in wanted or not (k.startswith(UNUSED_WEIGHTS) or k.endswith(OLD_BUFFERS))
    }
    if missing := wanted.keys() - given.keys():
        raise UserError(f"{path}: the weights lack {_first_of(missing)}")
    if unknown := given.keys() - wanted.keys():
        raise UserError(f"{path}: the weights have {_first_of(unknown)}, which this model has not")
    for key, weight in given.items():
        if not weight.is_floating_point():
            raise UserError(f"{path}: {key} holds {weight.dtype}, not floating-point numbers; fetch the weights again")
        if weight.shape != wanted[key].shape:
            raise UserError(
                f"{path}: {key} is {tuple(weight.shape)}; by config.json it should be {tuple(wanted[key].shape)}"
            )
    network.load_state_dict(given, assign=True)


def _first_of(keys: set[str]) -> str:
    first, *others = sorted(keys)
    return printable(first) + (f" and {len(others)} more" if others else "")


def backbone_weights(backbone: Path) -> Weights:
    """Returns the weights of a text backbone but its pooler, saved from a plain BERT or a model that contains one.

    Raises UserError if the folder has none.
    """
    weights = read_weights(backbone)
    prefix = "bert." if any(key.startswith("bert.") for key in weights) else ""
    kept = (f"{prefix}embeddings.", f"{prefix}encoder.")
    return {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(kept)}


def _named(values: Mapping[str, Any]) -> list[str]:
    """Returns the architectures that a config.json names; they may be none."""
    named = values.get("architectures") or []
    return [str(name) for name in (named if isinstance(named, list) else [named])]


def _check_architecture(values: Mapping[str, Any], where: str) -> None:
    if unknown := [name for name in _named(values) if name not in PUBLISHED_ARCHITECTURES]:
        raise UserError(
            f"{where}: a {printable(', '.join(unknown))}; this release reads {' and '.join(PUBLISHED_ARCHITECTURES)}"
        )


def _published_config(values: Mapping[str, Any], where: str, backbone: Path, weights: Weights) -> ModelConfig:
    """Returns the configuration of a checkpoint of the first implementation, which states only a part of it."""
    joint, names, own = bert_fields(values, where), _named(values), backbone / "config.json"
    places, triple = joint["max_position_embeddings"], PUBLISHED_ARCHITECTURES[names[0]] == "triple" if names else None
    # The checkpoint does not describe its backbone. Without the backbone's own file, it is assumed to be built as the
    # joint BERT. A BERT over walks has twice as many positions as a text has tokens, and so has any backbone.
    assumed = joint | ({"max_position_embeddings": 2 * (places - TRIPLE)} if triple else {})
    text = bert_fields(read_json(own), str(own)) if own.is_file() and str(own) != where else assumed
    text_length = text["max_position_embeddings"] // 2
    triple = places == text_length + TRIPLE if triple is None else triple
    return ModelConfig(
        lm_backbone=text,
        bert=joint,
        labels=id2label(values, where) if "classifier.weight" in weights else (),
        architecture="triple" if triple else "stonkgs",
        text_length=text_length,
        walk_length=0 if triple else (places - text_length - 2) // 2,
        legacy_text_padding=True,
        legacy_node_shift=True,
        kge_match="exact",
        kge_nodes=values.get("kg_vocab_size"),
    ).checked(where)


def _check_layers(config: ModelConfig, weights: Weights, where: str) -> None:
    """Raises UserError unless the weights have as many layers as the configuration.

    This comes before the network is built, because a configuration of a million layers would be built layer by layer.
    """
    for name in ARCHITECTURES[config.architecture].berts:
        fields = getattr(config, name)
        layers = {key.split(".")[3] for key in weights if key.startswith(f"{name}.encoder.layer.")}
        if fields["num_hidden_layers"] != len(layers):
            raise UserError(
                f"{where}: {fields['num_hidden_layers']} layers, but the weights of {name} have {len(layers)}"
            )


def _with_labels(config: ModelConfig, labels: Any, folder: Path) -> ModelConfig:
    """Returns the configuration with the user's labels, if any. Numbers and booleans that YAML read become text."""
    if labels is None:
        return config
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str | int | float) for label in labels):
        raise UserError(f"model.labels={labels}: must be a list of names, such as 'model.labels=[incorrect,correct]'")
    if len(labels) != len(config.labels):
        raise UserError(f"model.labels names {len(labels)} classes; {folder} has {len(config.labels)}")
    return replace(config, labels=tuple(label if isinstance(label, str) else json.dumps(label) for label in labels))
