"""What a model is made of: read from and written to its folder's config.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from stonkgs.errors import UserError

#: The part of a BertConfig that decides what a BERT computes. Anything else in a file is left where it is.
BERT_FIELDS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "classifier_dropout",
)
#: Those that every shape follows from.
SHAPES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A cross-modal STonKGs: a text backbone, and a joint BERT over text and walks."""

    #: BERT_FIELDS of the text backbone
    lm_backbone: dict[str, Any]
    #: BERT_FIELDS of the joint BERT
    bert: dict[str, Any]
    #: class names in the order of the logits; empty for a model that was only pre-trained
    labels: tuple[str, ...] = ()
    #: the text half's tokens; the graph half starts at this position
    text_length: int = 256
    #: nodes of a walk; the graph half has twice as many and two separators
    walk_length: int = 127
    #: token numbers of [UNK], [SEP], [MASK], whose vectors stand for an unknown node, a separator, a masked node
    special_tokens: tuple[int, int, int] = (100, 102, 103)
    #: Defect of the first implementation that its weights depend on: the backbone attends to padding up to text_length.
    legacy_text_padding: bool = False
    #: Defect of the first implementation that its weights depend on: see `stonkgs.encode.walks.vector_rows`.
    legacy_node_shift: bool = False
    #: digest of the KGE store that the model was trained with, where it is known
    kge_digest: str | None = None
    #: number of nodes of that store, where it is known
    kge_nodes: int | None = None
    #: what this project's reader has to understand
    version: int = field(default=1, kw_only=True)

    @property
    def graph_length(self) -> int:
        """Positions of the graph half: walk, separator, walk, separator."""
        return 2 * self.walk_length + 2

    @property
    def dimension(self) -> int:
        """Width of the joint BERT, which is that of the backbone and of the store's vectors too."""
        return int(self.bert["hidden_size"])

    def save(self, folder: str | Path) -> None:
        """Write config.json, with the labels also the way transformers writes them."""
        values = asdict(self)
        labels = values.pop("labels")
        values |= {
            "model_type": "stonkgs",
            "architectures": ["STonKGs"],
            "id2label": {str(number): label for number, label in enumerate(labels)},
            "label2id": {label: number for number, label in enumerate(labels)},
        }
        (Path(folder) / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, values: Mapping[str, Any], where: str) -> Self:
        """From the contents of a config.json of ours; UserError where it is not one."""
        if values.get("version") != 1:
            raise UserError(f"{where}: version {values.get('version')!r} of the model format; this release reads 1")
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        try:
            known["special_tokens"] = tuple(int(token) for token in known["special_tokens"])
            known["bert"], known["lm_backbone"] = (bert_fields(known[key], where) for key in ("bert", "lm_backbone"))
            config = cls(**known, labels=id2label(values, where))
            places = config.text_length + config.graph_length
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: not the configuration of a model: {error}") from error
        if places > config.bert["max_position_embeddings"]:
            raise UserError(
                f"{where}: {places} positions, but the joint BERT has {config.bert['max_position_embeddings']}"
            )
        return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; UserError where it is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path.parent}: no {path.name}; a model is a folder with config.json and its weights"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")
    return values


def bert_fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """BERT_FIELDS of a BertConfig; UserError where one that decides a shape is missing or no number."""
    fields = {key: values[key] for key in BERT_FIELDS if key in values}
    for key in SHAPES:
        if not isinstance(fields.get(key), int) or fields[key] < 1:
            raise UserError(f"{where}: not the configuration of a BERT: {key} is {fields.get(key)!r}")
    return fields


def id2label(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The labels in the order of their numbers; empty where the file names none."""
    table = values.get("id2label") or {}
    try:
        labels = {int(number): str(label) for number, label in table.items()}
    except (AttributeError, ValueError) as error:
        raise UserError(f"{where}: id2label is not a table of numbers to names") from error
    if sorted(labels) != list(range(len(labels))):
        raise UserError(f"{where}: id2label has the numbers {sorted(labels)}, not 0 to {len(labels) - 1}")
    return tuple(labels[number] for number in range(len(labels)))
