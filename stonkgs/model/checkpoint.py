"""Model folders on disk: ours, and those of the first implementation."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stonkgs.encode.text import TextEncoder
from stonkgs.errors import UserError
from stonkgs.model.config import ModelConfig, bert_fields, id2label, read_json

Weights = dict[str, Tensor]

#: Weights of a published checkpoint that prediction has no use for.
UNUSED = ("cls.", "bert.embeddings.word_embeddings.", "lm_backbone.pooler.")
#: Buffers that old transformers versions saved.
BUFFERS = (".position_ids", ".token_type_ids")

PUBLISHED = ("STonKGsForSequenceClassification", "STonKGsForPreTraining")


def read(folder: Path, tokenizer: str | None, labels: Any) -> tuple[ModelConfig, TextEncoder, Weights]:
    """What a model folder holds, without building anything of it; UserError where something does not fit."""
    where = str(folder / "config.json")
    values = read_json(folder / "config.json")
    weights = read_weights(folder)
    if values.get("model_type") == "stonkgs":
        config = ModelConfig.load(values, where)
        _check_layers(config, weights, where)
        text = TextEncoder(path=str(folder / "tokenizer.json"), length=config.text_length)
    else:
        backbone = _vocabulary_folder(folder, tokenizer)
        if not any(key.startswith("lm_backbone.") for key in weights):
            weights |= _backbone_weights(backbone)
        config = _published_config(values, where, backbone, weights)
        _check_layers(config, weights, where)
        text = TextEncoder(path=str(backbone / "vocab.txt"), length=config.text_length)
    text.check(config.lm_backbone["vocab_size"])
    return _rename(config, labels, folder), text, weights


def write(folder: Path, config: ModelConfig, text: TextEncoder, weights: Mapping[str, Tensor]) -> None:
    """Write a model folder of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    text.save(folder)
    copies = {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}
    safetensors.torch.save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})


def read_weights(folder: Path) -> Weights:
    """model.safetensors, or pytorch_model.bin read as weights alone: a pickle with anything else in it is refused."""
    path = folder / "model.safetensors"
    try:
        if path.exists():
            return safetensors.torch.load_file(path)
        path = folder / "pytorch_model.bin"
        # Mapped, not copied; files older than torch 1.6 are no zip archives and cannot be mapped.
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin") from None
    except Exception as error:  # a damaged or hostile file fails in a dozen ways
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path}: not readable as weights alone: {reason}") from error
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise UserError(f"{path}: not a table of weights")
    return weights


def assign(network: nn.Module, weights: Weights, path: str) -> None:
    """Make the network's parameters the given weights; UserError where one is missing, left over or misshapen."""
    wanted = network.state_dict()
    given = {k: w for k, w in weights.items() if k in wanted or not (k.startswith(UNUSED) or k.endswith(BUFFERS))}
    if missing := wanted.keys() - given.keys():
        raise UserError(f"{path}: the weights lack {_some(missing)}")
    if unknown := given.keys() - wanted.keys():
        raise UserError(f"{path}: the weights have {_some(unknown)}, which this model has not")
    for key, weight in given.items():
        if not weight.is_floating_point():
            raise UserError(f"{path}: {key} holds {weight.dtype}, not floating-point numbers; fetch the weights again")
        if weight.shape != wanted[key].shape:
            raise UserError(
                f"{path}: {key} is {tuple(weight.shape)}; by config.json it should be {tuple(wanted[key].shape)}"
            )
    network.load_state_dict(given, assign=True)


def _some(keys: set[str]) -> str:
    first, *others = sorted(keys)
    return first + (f" and {len(others)} more" if others else "")


def _vocabulary_folder(folder: Path, tokenizer: str | None) -> Path:
    backbone = Path(tokenizer) if tokenizer else folder
    if not (backbone / "vocab.txt").is_file():
        raise UserError(
            f"{backbone}: no vocab.txt; a published checkpoint comes without its vocabulary: "
            "give the folder of its text backbone (dmis-lab/biobert-v1.1) as model.tokenizer="
        )
    return backbone


def _backbone_weights(backbone: Path) -> Weights:
    """The text backbone's own weights, whatever model they were saved from."""
    weights = read_weights(backbone)
    prefix = "bert." if any(key.startswith("bert.") for key in weights) else ""
    kept = (f"{prefix}embeddings.", f"{prefix}encoder.")
    return {f"lm_backbone.{k.removeprefix(prefix)}": w for k, w in weights.items() if k.startswith(kept)}


def _published_config(values: Mapping[str, Any], where: str, backbone: Path, weights: Weights) -> ModelConfig:
    """What a checkpoint of the first implementation says, and what it leaves to be known."""
    if unknown := set(values.get("architectures") or PUBLISHED) - set(PUBLISHED):
        raise UserError(f"{where}: a {', '.join(sorted(unknown))}; this release reads {' and '.join(PUBLISHED)}")
    joint = bert_fields(values, where)
    # The checkpoint does not describe its backbone; without the backbone's own file it is of the joint BERT's build.
    own = backbone / "config.json"
    text = bert_fields(read_json(own), str(own)) if own.is_file() and str(own) != where else joint
    text_length = text["max_position_embeddings"] // 2
    return ModelConfig(
        lm_backbone=text,
        bert=joint,
        labels=id2label(values, where) if "classifier.weight" in weights else (),
        text_length=text_length,
        walk_length=(joint["max_position_embeddings"] - text_length - 2) // 2,
        legacy_text_padding=True,
        legacy_node_shift=True,
        kge_nodes=values.get("kg_vocab_size"),
    ).checked(where)


def _check_layers(config: ModelConfig, weights: Weights, where: str) -> None:
    """Before anything is built: a config of a million layers would be built layer by layer."""
    for name, fields in (("bert", config.bert), ("lm_backbone", config.lm_backbone)):
        layers = {key.split(".")[3] for key in weights if key.startswith(f"{name}.encoder.layer.")}
        if fields["num_hidden_layers"] != len(layers):
            raise UserError(
                f"{where}: {fields['num_hidden_layers']} layers, but the weights of {name} have {len(layers)}"
            )


def _rename(config: ModelConfig, labels: Any, folder: Path) -> ModelConfig:
    """With the user's labels, if any: YAML reads some names as numbers and truths, which are names all the same."""
    if labels is None:
        return config
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str | int | float) for label in labels):
        raise UserError(f"model.labels={labels}: must be a list of names, such as 'model.labels=[incorrect,correct]'")
    if len(labels) != len(config.labels):
        raise UserError(f"model.labels names {len(labels)} classes; {folder} has {len(config.labels)}")
    return replace(config, labels=tuple(label if isinstance(label, str) else json.dumps(label) for label in labels))
