"""The README.md of a model folder: what the model is, what it was made from, and how good it is."""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from stonkgs.errors import printable
from stonkgs.train.protocol import PARTS

#: Nothing of what is told goes in here: a name in it could say anything.
FRONT_MATTER = """---
license: other # fill in
library_name: stonkgs
pipeline_tag: text-classification
tags:
- stonkgs
- biomedical
- knowledge-graph
- text-mining
metrics:
- f1
- accuracy
- roc_auc
- brier_score
---"""

#: What the metrics are called, in the table's order.
NAMES = {
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
#: What stands for a class, in the table's order.
OF_CLASS = ("rows", "precision", "recall", "f1", "auroc", "auprc", "brier")
#: What is markup anywhere in a line; an underscore only at a word's edge.
_MARKUP = re.compile(r"[\\`*|\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
#: What is markup at the start of one: a heading, an item of a list, a rule.
_BLOCK = re.compile(r"^(\d*)([#+.)=-]+)(?=\s|$)")


def model_card(facts: Mapping[str, Any]) -> str:
    """A model card in Markdown, as Hugging Face reads it (https://huggingface.co/docs/hub/model-cards).

    `facts` has `task` (`name`, `column`, `classes`, `multi_label`), `protocol`, `data` (`files` of `path`, `size` in
    bytes and `ends`, a SHA-256; `rows`: part: class: number), `base`, `metrics` (`test`, and `majority` and
    `validation` as far as there are, each from `metrics()`), `temperature`, `config`, `versions`, `finished` and
    `command`. Whatever they say stays the text or the cell that it is. Raises KeyError where one is missing.
    """
    sections = {
        "What it answers": _answers(facts["task"], facts["base"]),
        "Use": _use(),
        "How good it is": _quality(facts),
        "Data": _data(facts["data"], facts["task"]["classes"]),
        "License": "To be filled in by the owner of the model, here and in the first lines of this file: what the "
        "licences of the data and of the base model allow is not known here.",
        "How it was made": _making(facts),
    }
    title = f"# {inline(facts['task']['name'])}"
    return "\n\n".join([FRONT_MATTER, title, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def inline(text: object) -> str:
    """Text as one line of Markdown that is neither markup nor a table's border."""
    line = html.escape(printable(" ".join(str(text).split())), quote=False)
    return _BLOCK.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", line))


def fenced(text: str, language: str) -> str:
    """Text as a code block, whose fence is longer than any in it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, the first column to the left, all others to the right; floats to 4 digits, None a dash."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else inline(value)


def _answers(task: Mapping[str, Any], base: object) -> str:
    several = "which of these classes it has, several or none" if task["multi_label"] else "which one of these it is"
    classes = "\n".join(f"- {inline(label)}" for label in task["classes"])
    return (
        f"Of a statement (source node, target node, evidence) it tells {several}; it was trained on the column "
        f"{inline(task['column'])}:\n\n{classes}\n\nIt was fine-tuned from: {inline(base)}"
    )


def _use() -> str:
    command = "stonkgs predict model.path=this_folder kge.path=embeddings.h5 source.path=statements.tsv"
    return (
        f"{fenced(command, 'bash')}\n\n`this_folder` is the folder of this file, `embeddings.h5` the store of node "
        "embeddings that it was trained with, and `statements.tsv` has the columns `source`, `target` and `evidence`."
    )


def _quality(facts: Mapping[str, Any]) -> str:
    scores = facts["metrics"]
    columns = {"test": "test", "majority": "test, majority class", "validation": "validation"}
    present = [part for part in columns if scores.get(part)]
    overall = table(
        ["metric", *(columns[part] for part in present)],
        ([name, *(scores[part].get(key) for part in present)] for key, name in NAMES.items()),
    )
    classes = table(
        ["class", *OF_CLASS],
        ([label, *(score.get(key) for key in OF_CLASS)] for label, score in scores["test"]["per_class"].items()),
    )
    return (
        f"Protocol: {inline(facts['protocol'])}\n\n{overall}\n\nMajority class: of every row is said what is most "
        "frequent in training. A dash is what cannot be told of these rows.\n\nEach class against the rest, test:\n\n"
        f"{classes}\n\nCalibration: probabilities are scaled with the temperature {facts['temperature']:.4g}, the best "
        "on validation (Guo et al. 2017); 1 leaves them as they are."
    )


def _data(data: Mapping[str, Any], classes: Sequence[str]) -> str:
    files = table(
        ["file", "bytes", "SHA-256 of its ends"],
        ([file["path"], file["size"], file["ends"]] for file in data["files"]),
    )
    rows = data["rows"]
    parts = [part for part in PARTS if part in rows]
    counts = table(
        ["class", *(f"{part} rows" for part in parts)],
        ([label, *(rows[part].get(label, 0) for part in parts)] for label in classes),
    )
    return f"{files}\n\n{counts}"


def _making(facts: Mapping[str, Any]) -> str:
    versions = table(["package", "version"], facts["versions"].items())
    return "\n\n".join(
        [
            f"Finished {inline(facts['finished'])}, by:",
            fenced("\n".join(map(printable, str(facts["command"]).splitlines())), "bash"),
            versions,
            "Configuration:",
            fenced(_yaml(facts["config"]), "yaml"),
        ]
    )


def _yaml(config: Any) -> str:
    """As YAML; what YAML has no type for, such as a path, as text."""
    plain = json.loads(json.dumps(config, default=str))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    return text
