"""Model folders on disk: ours, and those of the first implementation."""

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
from stonkgs.errors import UserError, printable
from stonkgs.model.config import ARCHITECTURES, ModelConfig, bert_fields, id2label, is_ours, read_json
from stonkgs.model.weights import Weights, first_sentence, read_weights, write_weights

#: Weights of a published checkpoint that prediction has no use for.
UNUSED = ("cls.", "bert.embeddings.word_embeddings.", "lm_backbone.pooler.")
#: Buffers that old transformers versions saved.
BUFFERS = (".position_ids", ".token_type_ids")

#: All that a model folder of ours holds. With config.json it is a model, so that it comes last.
FILES = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json")

PUBLISHED = ("STonKGsForSequenceClassification", "STonKGsForPreTraining")


def read(folder: Path, tokenizer: str | None, labels: Any) -> tuple[ModelConfig, TextEncoder, Weights]:
    """What a model folder holds, without building anything of it; UserError where something does not fit."""
    config, text, weights = read_parts(folder, tokenizer)
    if text.path.endswith("vocab.txt") and not Path(text.path).is_file():
        raise UserError(
            f"{Path(text.path).parent}: no vocab.txt; a published checkpoint comes without its vocabulary: "
            "give the folder of its text backbone (dmis-lab/biobert-v1.1) as model.tokenizer="
        )
    text.check(config.lm_backbone["vocab_size"])
    return _rename(config, labels, folder), text, weights


def read_parts(folder: Path, tokenizer: str | None) -> tuple[ModelConfig, TextEncoder, Weights]:
    """The same before the vocabulary is looked at: it need not be there."""
    where = str(folder / "config.json")
    values = read_json(folder / "config.json")
    weights = read_weights(folder)
    if is_ours(values):
        config, vocabulary = ModelConfig.load(values, where), folder / "tokenizer.json"
    else:
        _check_architecture(values, where)
        backbone = Path(tokenizer) if tokenizer else folder
        if not any(key.startswith("lm_backbone.") for key in weights):
            weights |= _backbone_weights(backbone, folder)
        config, vocabulary = _published_config(values, where, backbone, weights), backbone / "vocab.txt"
    _check_layers(config, weights, where)
    return config, TextEncoder(path=str(vocabulary), length=config.text_length), weights


def write(folder: Path, config: ModelConfig, text: TextEncoder, weights: Mapping[str, Tensor]) -> None:
    """Write a model folder of ours; a new one appears whole or not at all. UserError where that cannot be."""
    inside = folder.is_dir()
    # Within a folder that exists, which may be the only one on its disk and the only one that we may write to.
    staging = folder / f".tmp-{os.getpid()}" if inside else folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        _write_files(staging, config, text, weights)
        if inside:
            _replace(staging, folder)
        else:
            staging.rename(folder)
            sync_folder(folder.parent)
    except UserError:
        raise
    except Exception as error:  # tokenizers have their own for a full disk
        raise UserError(f"{folder}: cannot be written: {first_sentence(error)}; name a folder with room") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(folder: Path, config: ModelConfig, text: TextEncoder, weights: Mapping[str, Tensor]) -> None:
    """All FILES, flushed to the disk."""
    write_weights(folder / "model.safetensors", weights)
    text.save(folder)
    config.save(folder)
    for name in FILES:
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _replace(staging: Path, folder: Path) -> None:
    """Move FILES. Cut short, it leaves a folder that is no model, never a mixture of two."""
    (folder / "config.json").unlink(missing_ok=True)
    for name in FILES:
        (staging / name).replace(folder / name)
    sync_folder(folder)


def assign(network: nn.Module, weights: Weights, path: str | Path) -> None:
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
    return printable(first) + (f" and {len(others)} more" if others else "")


def _backbone_weights(backbone: Path, folder: Path) -> Weights:
    """The text backbone's own weights, whatever model they were saved from."""
    if backbone.is_dir() and backbone.samefile(folder):  # its BERT is the joint one
        raise UserError(
            f"{folder}: the weights lack those of the text backbone: "
            "give its folder (dmis-lab/biobert-v1.1, with weights) as model.tokenizer="
        )
    weights = read_weights(backbone)
    prefix = "bert." if any(key.startswith("bert.") for key in weights) else ""
    kept = (f"{prefix}embeddings.", f"{prefix}encoder.")
    return {f"lm_backbone.{k.removeprefix(prefix)}": w for k, w in weights.items() if k.startswith(kept)}


def _check_architecture(values: Mapping[str, Any], where: str) -> None:
    named = values.get("architectures") or list(PUBLISHED)
    if unknown := [str(name) for name in (named if isinstance(named, list) else [named]) if name not in PUBLISHED]:
        raise UserError(f"{where}: a {printable(', '.join(unknown))}; this release reads {' and '.join(PUBLISHED)}")


def _published_config(values: Mapping[str, Any], where: str, backbone: Path, weights: Weights) -> ModelConfig:
    """What a checkpoint of the first implementation says, and what it leaves to be known."""
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
        kge_match="exact",
        kge_nodes=values.get("kg_vocab_size"),
    ).checked(where)


def _check_layers(config: ModelConfig, weights: Weights, where: str) -> None:
    """Before anything is built: a config of a million layers would be built layer by layer."""
    for name in ARCHITECTURES[config.architecture]:
        fields = getattr(config, name)
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
