"""Writes the README.md of a model folder: what the model is, what it was made from, and how good it is.

The templates `card.md.j2` and `pretrained.md.j2` have the text. This file makes the tables and escapes all values.
"""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped, unused-ignore]
from huggingface_hub import ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stonkgs.errors import printable
from stonkgs.protocol import PARTS

#: The card's first lines, which Hugging Face reads. They contain no text of a user's, so nothing has to be escaped.
FRONT_MATTER: Final = ModelCardData(
    license="other",
    library_name="stonkgs",
    pipeline_tag="text-classification",
    tags=["stonkgs", "biomedical", "knowledge-graph", "text-mining"],
    metrics=["f1", "accuracy", "roc_auc", "brier_score"],
)
#: The same for a model that is only pre-trained.
PRETRAINED_FRONT_MATTER: Final = ModelCardData(
    license="other", library_name="stonkgs", tags=["stonkgs", "biomedical", "knowledge-graph", "text-mining"]
)
#: The names of the metrics, in the table's order; a metric that is not here follows under its own name.
NAMES: Final = {
    "rows": "rows",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "auroc": "AUROC (macro)",
    "auprc": "AUPRC (macro average precision)",
    "brier": "Brier score (less is better)",
    "ece": "expected calibration error (less is better)",
    "nll": "negative log-likelihood (nats, less is better)",
}
#: The figures of one class, in the table's order.
OF_CLASS: Final = ("rows", "precision", "recall", "f1", "auroc", "auprc", "brier")
#: The ratings that are compared, and the titles of their columns.
COLUMNS: Final = {"test": "test", "majority": "test, majority class", "validation": "validation"}
#: Characters that are markup anywhere in a line. An underscore is markup only at a word's edge.
_MARKUP: Final = re.compile(r"[\\`*|\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
#: What is markup at the start of a line: a heading, an item of a list, a rule.
_BLOCK: Final = re.compile(r"^(\d*)([#+.)=-]+)(?=\s|$)")

#: The header of a table, and its rows.
Table = tuple[Sequence[object], Sequence[Sequence[object]]]


def model_card(facts: Mapping[str, Any]) -> str:
    """Returns a model card in Markdown, as Hugging Face reads it (https://huggingface.co/docs/hub/model-cards).

    `facts` has `task` (`name`, `column`, `classes`, `multi_label`), `protocol`, `data` (`files` of `path`, `size` in
    bytes and `ends`, a SHA-256; `rows`: part: class: number), `base`, `metrics` (`test`, and `majority` and
    `validation` as far as there are, each from `metrics()`), `temperature`, `calibration` (in words), `warnings`
    (sentences), `config`, `versions`, `finished` and `command`. No text in them can end the line or the table cell that
    it stands in. Raises KeyError or jinja2's UndefinedError if one is missing.
    """
    scores = facts["metrics"]
    return _card(
        "card.md.j2",
        facts,
        front_matter=Markup(FRONT_MATTER.to_yaml()),
        overall=_overall(scores),
        each_class=_each_class(scores["test"]["per_class"]),
        counts=_counts(facts["data"]["rows"], facts["task"]["classes"]),
    )


def pretrained_card(facts: Mapping[str, Any]) -> str:
    """Returns the card of a pre-trained model. `facts` as for `model_card`, but for `calibration` and `temperature`.

    `metrics` has at most `validation`, and `name` stands in place of `task`.
    """
    found = facts["metrics"].get("validation", {})
    return _card(
        "pretrained.md.j2",
        facts,
        front_matter=Markup(PRETRAINED_FRONT_MATTER.to_yaml()),
        overall=(["of the validation part", "value"], [[key.replace("_", " "), found[key]] for key in found]),
        counts=(["part", "rows"], [[part, sum(rows.values())] for part, rows in facts["data"]["rows"].items()]),
    )


def _card(template: str, facts: Mapping[str, Any], **tables: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            facts,
            **tables,
            files=_files(facts["data"]["files"]),
            command_block=fenced("\n".join(map(printable, str(facts["command"]).splitlines())), "bash"),
            config_block=fenced(_yaml(facts["config"]), "yaml"),
        )
    )


def _environment() -> Environment:
    """Make jinja2 escape every value, and refuse missing ones. `ModelCard.from_template` can do neither."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def escaped(value: object) -> Markup:
    """Returns the text of a value: floats with 4 digits, a dash for None and what is not finite. Markup stays."""
    if isinstance(value, Markup):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Markup("–")
    if isinstance(value, float):
        return Markup(f"{value:.4f}")
    return Markup(f"{value:,}" if isinstance(value, int) else inline(value))


def inline(text: object) -> str:
    """Returns text as one line of Markdown that is neither markup nor a table's border."""
    line = html.escape(printable(" ".join(str(text).split())), quote=False)
    return _BLOCK.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", line))


def fenced(text: str, language: str) -> Markup:
    """Returns text as a code block, whose fence is longer than any in it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return Markup(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def _overall(scores: Mapping[str, Any]) -> Table:
    present = [part for part in COLUMNS if scores.get(part)]
    others = {key: key for key in scores["test"] if key not in NAMES and key != "per_class"}
    rows = [[name, *(scores[part].get(key) for part in present)] for key, name in {**NAMES, **others}.items()]
    return ["metric", *(COLUMNS[part] for part in present)], rows


def _each_class(scores: Mapping[str, Any]) -> Table:
    return ["class", *OF_CLASS], [[label, *(score.get(key) for key in OF_CLASS)] for label, score in scores.items()]


def _files(files: Sequence[Mapping[str, Any]]) -> Table:
    return ["file", "bytes", "SHA-256 of its ends"], [[file["path"], file["size"], file["ends"]] for file in files]


def _counts(rows: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Table:
    parts = [part for part in PARTS if part in rows]
    counts = [[label, *(rows[part].get(label, 0) for part in parts)] for label in classes]
    return ["class", *(f"{part} rows" for part in parts)], counts


def _yaml(config: Any) -> str:
    """Returns a configuration as YAML. Values that YAML has no type for, such as a path, become text."""
    plain = json.loads(json.dumps(config, default=str))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    return text
