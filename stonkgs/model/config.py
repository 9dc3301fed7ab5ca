"""Holds the configuration of a model, reads it from config.json, checks it, and writes it."""

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from stonkgs.errors import UserError, reason

#: `model_type` in the config.json of this project's model folders.
MODEL_TYPE = "stonkgs"


class Architecture(NamedTuple):
    """What a configuration must know of an architecture; see `Network`."""

    berts: tuple[str, ...]
    reads_walks: bool
    graph_length: Callable[[int], int]


#: The architectures by their names. Each subclass of `Network` adds itself when it is defined.
ARCHITECTURES: dict[str, Architecture] = {}

#: The values of `kge_match`.
MATCHES = ("exact", "identifier")

#: A test of a value, and the words for what it must be.
Check = tuple[Callable[[Any], bool], str]


def _count(value: Any) -> bool:
    return type(value) is int and value > 0


def _share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


COUNT: Check = (_count, "a whole number of 1 or more")
TRUTH: Check = (lambda value: type(value) is bool, "true or false")
#: The fields of a BertConfig that decide what a BERT computes, in the order in which config.json has them. Other fields
#: are ignored.
BERT_CHECKS: dict[str, Check] = {
    "vocab_size": COUNT,
    "hidden_size": COUNT,
    "num_hidden_layers": COUNT,
    "num_attention_heads": COUNT,
    "intermediate_size": COUNT,
    "hidden_act": (lambda value: type(value) is str, "a name"),
    "hidden_dropout_prob": (_share, "a number from 0 to below 1"),
    "attention_probs_dropout_prob": (_share, "a number from 0 to below 1"),
    "max_position_embeddings": COUNT,
    "type_vocab_size": COUNT,
    "layer_norm_eps": (lambda value: type(value) in (int, float) and 0 < value < 1, "a number between 0 and 1"),
    "classifier_dropout": (lambda value: value is None or _share(value), "a number from 0 to below 1, or null"),
}
#: Fields that must be there, because the shapes of the weights follow from them. The others have BertConfig's defaults.
SHAPES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
#: What the values of a ModelConfig must be.
CHECKS: dict[str, Check] = {
    "text_length": (lambda value: _count(value) and value >= 2, "a whole number of 2 or more"),
    "walk_length": (lambda value: type(value) is int and value >= 0, "a whole number of 0 or more"),
    "special_tokens": (
        lambda value: type(value) is tuple and len(value) == 3 and all(type(t) is int and t >= 0 for t in value),
        "three whole numbers of 0 or more",
    ),
    "legacy_text_padding": TRUTH,
    "legacy_node_shift": TRUTH,
    "text_pooler": TRUTH,
    "architecture": (lambda value: type(value) is str and value in ARCHITECTURES, "one of ARCHITECTURES"),
    "multi_label": TRUTH,
    "temperature": (lambda value: type(value) in (int, float) and 0.01 <= value <= 100, "a number from 0.01 to 100"),
    "kge_match": (lambda value: type(value) is str and value in MATCHES, " or ".join(MATCHES)),
    "kge_digest": (lambda value: value is None or type(value) is str, "a text or null"),
    "kge_nodes": (lambda value: value is None or _count(value), "a whole number of 1 or more, or null"),
    "relation_column": (lambda value: type(value) is str and value != "", "a name"),
    "divisions": (
        lambda value: type(value) is tuple and all(isinstance(one, Mapping) for one in value),
        "a list of tables",
    ),
}
#: Fields that later versions added, and what they are in models of earlier ones.
LATER = {"text_pooler": False, "divisions": (), "relation_column": "relation"}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The configuration of a model: its architecture, sizes and labels, and how it reads the store."""

    #: fields of the text backbone, those of BERT_CHECKS
    lm_backbone: dict[str, Any]
    #: fields of the joint BERT over text and walks, those of BERT_CHECKS
    bert: dict[str, Any]
    #: class names in the order of the logits; empty for a model that is only pre-trained
    labels: tuple[str, ...] = ()
    #: whether a statement may have several classes, each with its own probability (a sigmoid), or has exactly one
    multi_label: bool = False
    #: logits are divided by this before they become probabilities; see `stonkgs.evaluate.calibration`
    temperature: float = 1.0
    #: one of ARCHITECTURES
    architecture: str = "stonkgs"
    #: most tokens of a text; the graph half starts at this position
    text_length: int = 256
    #: nodes in a walk; may be 0 for an architecture that reads no walks
    walk_length: int = 127
    #: token numbers of [UNK], [SEP], [MASK], whose vectors represent an unknown node, a separator and a masked node
    special_tokens: tuple[int, int, int] = (100, 102, 103)
    #: defect of the first implementation that its weights depend on: the backbone attends to padding up to text_length
    legacy_text_padding: bool = False
    #: defect of the first implementation that its weights depend on: see `stonkgs.encode.walks.vector_rows`
    legacy_node_shift: bool = False
    #: whether the architecture text_only has the backbone's pooler, as in the first implementation
    text_pooler: bool = False
    #: how this model finds nodes in its store: by "exact" name only, or by that first and then by "identifier"; models
    #: of the first implementation use exact names only, as they did there
    kge_match: str = "identifier"
    #: the input's column that holds a statement's relation, for an architecture that reads it
    relation_column: str = "relation"
    #: digest of the KGE store that the model was trained with, if known
    kge_digest: str | None = None
    #: number of nodes of that store, if known
    kge_nodes: int | None = None
    #: how its trainings have divided their rows, the first one first: see `stonkgs.division`
    divisions: tuple[Mapping[str, Any], ...] = ()
    #: version of this format
    version: int = 1

    @property
    def graph_length(self) -> int:
        """Length of the graph half, as the architecture has it."""
        return ARCHITECTURES[self.architecture].graph_length(self.walk_length)

    @property
    def dimension(self) -> int:
        """Width of the joint BERT, of the text backbone, and of the store's vectors."""
        return int(self.bert["hidden_size"])

    def to_json(self) -> str:
        """Returns the content of config.json. Labels are written as transformers writes them."""
        values = asdict(self)
        labels = values.pop("labels")
        for key, usual in LATER.items():
            if values[key] == usual:  # written only where it is set, so that the digests of earlier models stay
                del values[key]
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
        """Returns the configuration that a config.json of this project holds. Raises UserError if it is wrong."""
        if values.get("version") != 1:
            raise UserError(f"{where}: version {values.get('version')!r} of the model format; this release reads 1")
        known: dict[str, Any] = {key: values[key] for key in CHECKS if key in values}
        for key in ("special_tokens", "divisions"):
            if isinstance(listed := known.get(key), list):
                known[key] = tuple(listed)
        for key in ("lm_backbone", "bert"):
            known[key] = bert_fields(values.get(key), f"{where}: {key}")
        return cls(**known, labels=id2label(values, where)).checked(where)

    def checked(self, where: str) -> Self:
        """Returns self. Raises UserError, naming `where`, if a value is impossible."""
        _check(vars(self), CHECKS, where)
        if ARCHITECTURES[self.architecture].reads_walks and not self.walk_length:
            raise UserError(
                f"{where}: walk_length is 0; it must be 1 or more for {self.architecture}, which reads walks"
            )
        text, joint = self.lm_backbone, self.bert
        for what, has, most in (
            ("special_tokens reach", max(self.special_tokens), text["vocab_size"] - 1),
            ("text_length is", self.text_length, text["max_position_embeddings"]),
            (
                f"text and {'walks' if self.walk_length else 'graph half'} take",
                self.text_length + self.graph_length,
                joint["max_position_embeddings"],
            ),
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
    """Returns whether the content of a config.json is this project's, not the first implementation's."""
    return values.get("model_type") == MODEL_TYPE


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises UserError if there is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        lacks = f"no {path.name}" if path.parent.exists() else "no such folder"
        raise UserError(f"{path.parent}: {lacks}; a model is a folder with config.json and its weights") from None
    except NotADirectoryError:
        raise UserError(f"{path.parent}: is no folder; a model is a folder with config.json and its weights") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")
    return values


def bert_fields(values: Any, where: str) -> dict[str, Any]:
    """Returns the fields of a BertConfig that BERT_CHECKS names. Raises UserError if one is missing or impossible."""
    if not isinstance(values, Mapping) or not values.keys() >= set(SHAPES):
        raise UserError(f"{where}: not the configuration of a BERT, which has {', '.join(SHAPES)}")
    fields = {key: values[key] for key in BERT_CHECKS if key in values}
    _check(fields, BERT_CHECKS, where)
    return fields


def id2label(values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns the labels in the order of their numbers; empty if the file has none. Raises UserError."""
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
