"""What a model is made of: read from and written to its folder's config.json."""

import json
import reprlib
from collections.abc import Callable, Mapping
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

#: How `config.json` says that a folder is of ours.
MODEL_TYPE = "stonkgs"

#: What a model may be, with the BERTs that it is made of. Each subclass of `Network` enters itself when it is defined.
ARCHITECTURES: dict[str, tuple[str, ...]] = {}

#: How a model may find its nodes in a store.
MATCHES = ("exact", "identifier")

Check = tuple[Callable[[Any], bool], str]


def _count(value: Any) -> bool:
    return type(value) is int and value > 0


def _share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


COUNT: Check = (_count, "a whole number of 1 or more")
TRUTH: Check = (lambda value: type(value) is bool, "true or false")
#: What the values of a BertConfig have to be. A shape must be there; the others have BertConfig's defaults.
BERT_CHECKS: dict[str, Check] = dict.fromkeys((*SHAPES, "type_vocab_size"), COUNT) | {
    "hidden_act": (lambda value: type(value) is str, "a name"),
    "hidden_dropout_prob": (_share, "a number from 0 to below 1"),
    "attention_probs_dropout_prob": (_share, "a number from 0 to below 1"),
    "classifier_dropout": (lambda value: value is None or _share(value), "a number from 0 to below 1, or null"),
    "layer_norm_eps": (lambda value: type(value) in (int, float) and 0 < value < 1, "a number between 0 and 1"),
}
#: What the values of a ModelConfig have to be.
CHECKS: dict[str, Check] = {
    "text_length": (lambda value: _count(value) and value >= 2, "a whole number of 2 or more"),
    "walk_length": COUNT,
    "special_tokens": (
        lambda value: type(value) is tuple and len(value) == 3 and all(type(t) is int and t >= 0 for t in value),
        "three whole numbers of 0 or more",
    ),
    "legacy_text_padding": TRUTH,
    "legacy_node_shift": TRUTH,
    "architecture": (lambda value: type(value) is str and value in ARCHITECTURES, "one of ARCHITECTURES"),
    "multi_label": TRUTH,
    "temperature": (lambda value: type(value) in (int, float) and 0.01 <= value <= 100, "a number from 0.01 to 100"),
    "kge_match": (lambda value: type(value) is str and value in MATCHES, " or ".join(MATCHES)),
    "kge_digest": (lambda value: value is None or type(value) is str, "a text or null"),
    "kge_nodes": (lambda value: value is None or _count(value), "a whole number of 1 or more, or null"),
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A cross-modal STonKGs: a text backbone, and a joint BERT over text and walks; or one of ARCHITECTURES."""

    #: BERT_FIELDS of the text backbone
    lm_backbone: dict[str, Any]
    #: BERT_FIELDS of the joint BERT
    bert: dict[str, Any]
    #: class names in the order of the logits; empty for a model that was only pre-trained
    labels: tuple[str, ...] = ()
    #: whether a statement may be of several classes, each with a probability of its own (a sigmoid), or is of one
    multi_label: bool = False
    #: what logits are divided by before they become probabilities: calibration, see `stonkgs.evaluate.calibration`
    temperature: float = 1.0
    #: one of ARCHITECTURES
    architecture: str = "stonkgs"
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
    #: How this model finds nodes in its store: by their "exact" name alone, or by that first and then by their
    #: "identifier". The first implementation knew exact names alone: the nodes that its models know stay the same.
    kge_match: str = "identifier"
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

    def to_json(self) -> str:
        """The contents of config.json, with the labels the way transformers writes them."""
        values = asdict(self)
        labels = values.pop("labels")
        values |= {
            "model_type": MODEL_TYPE,
            "architectures": ["STonKGs"],
            "id2label": {str(number): label for number, label in enumerate(labels)},
            "label2id": {label: number for number, label in enumerate(labels)},
        }
        return json.dumps(values, indent=2) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write config.json."""
        (Path(folder) / "config.json").write_text(self.to_json(), "utf-8")

    @classmethod
    def load(cls, values: Mapping[str, Any], where: str) -> Self:
        """From the contents of a config.json of ours; UserError where it is not one."""
        if values.get("version") != 1:
            raise UserError(f"{where}: version {values.get('version')!r} of the model format; this release reads 1")
        known: dict[str, Any] = {key: values[key] for key in CHECKS if key in values}
        if isinstance(tokens := known.get("special_tokens"), list):
            known["special_tokens"] = tuple(tokens)
        for key in ("lm_backbone", "bert"):
            known[key] = bert_fields(values.get(key), f"{where}: {key}")
        return cls(**known, labels=id2label(values, where)).checked(where)

    def checked(self, where: str) -> Self:
        """This; UserError where a value is none that a model can have."""
        _check(vars(self), CHECKS, where)
        text, joint = self.lm_backbone, self.bert
        for what, has, most in (
            ("special_tokens reach", max(self.special_tokens), text["vocab_size"] - 1),
            ("text_length is", self.text_length, text["max_position_embeddings"]),
            ("text and walks take", self.text_length + self.graph_length, joint["max_position_embeddings"]),
        ):
            if has > most:
                raise UserError(f"{where}: {what} {has}, but this model has no more than {most}")
        if text["hidden_size"] != joint["hidden_size"]:
            raise UserError(
                f"{where}: the text backbone is {text['hidden_size']} wide, but the joint BERT {joint['hidden_size']}"
            )
        return self


def _check(values: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> None:
    for key, (right, wanted) in checks.items():
        if key in values and not right(values[key]):
            # Their names are not known before the classes are defined.
            must = " or ".join(ARCHITECTURES) if key == "architecture" else wanted
            raise UserError(f"{where}: {key} is {reprlib.repr(values[key])}; it must be {must}")


def is_ours(values: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model folder of ours, not of the first implementation's."""
    return values.get("model_type") == MODEL_TYPE


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; UserError where it is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path.parent}: no {path.name}; a model is a folder with config.json and its weights"
        ) from None
    except NotADirectoryError:
        raise UserError(f"{path.parent}: is no folder; a model is a folder with config.json and its weights") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")
    return values


def bert_fields(values: Any, where: str) -> dict[str, Any]:
    """BERT_FIELDS of a BertConfig; UserError where one that decides a shape is missing, or one is of no use."""
    if not isinstance(values, Mapping) or not values.keys() >= set(SHAPES):
        raise UserError(f"{where}: not the configuration of a BERT, which has {', '.join(SHAPES)}")
    fields = {key: values[key] for key in BERT_FIELDS if key in values}
    _check(fields, BERT_CHECKS, where)
    return fields


def id2label(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The labels in the order of their numbers; empty where the file names none."""
    table = values.get("id2label") or {}
    try:
        labels = {int(number): label for number, label in table.items()}
    except (AttributeError, ValueError) as error:
        raise UserError(f"{where}: id2label is not a table of numbers to names") from error
    if wrong := [label for label in labels.values() if type(label) is not str]:
        raise UserError(f"{where}: id2label names a class {reprlib.repr(wrong[0])}; a name is a text")
    if sorted(labels) != list(range(len(labels))):
        raise UserError(f"{where}: id2label has the numbers {sorted(labels)}, not 0 to {len(labels) - 1}")
    return tuple(labels[number] for number in range(len(labels)))
