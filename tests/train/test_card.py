"""Model cards say what they are told, and no name breaks them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from stonkgs.evaluate.metrics import metrics
from stonkgs.evaluate.outcomes import Outcomes, majority
from stonkgs.train.card import escaped, fenced, inline, model_card

ENDS = "ab" * 32


def facts(name: str = "correctness", classes: tuple[str, str] = ("incorrect", "correct")) -> dict[str, Any]:
    """All that a card is made of; `name` stands wherever a text can."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    outcomes = Outcomes(classes, probabilities, np.array([0, 1, 1]))
    test = metrics(outcomes)
    return {
        "task": {"name": name, "column": name, "classes": list(classes), "multi_label": False},
        "protocol": name,
        "data": {
            "files": [{"path": name, "size": 12345, "ends": ENDS}],
            "rows": {"train": {classes[0]: 4000, classes[1]: 2000}, "test": {classes[1]: 2, classes[0]: 1}},
        },
        "base": name,
        "metrics": {"validation": None, "test": test, "majority": metrics(majority(outcomes, [4000, 2000], 6000))},
        "temperature": 1.2345678,
        "calibration": name,
        "warnings": [name],
        "config": {"optimiser": {"rate": 1e-5}, "path": Path("/somewhere"), "text": name, "list": (1, 2), "none": None},
        "versions": {"torch": "2.13.0", name: name},
        "finished": "2025-01-31",
        "command": f"stonkgs train {name}",
    }


def blocks(card: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language, by the rule that a fence ends with one as long."""
    found, lines = [], iter(card.split("\n"))
    for line in lines:
        if line.startswith("```"):
            fence = line[: len(line) - len(line.lstrip("`"))]
            content = "\n".join(iter(lines.__next__, fence))
            if line == fence + language:
                found.append(content)
    return found


def cells(card: str, first: str) -> list[list[str]]:
    """Rows of the tables whose first cell is this."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in card.splitlines()
        if line.startswith(f"| {first} |")
    ]


def test_says_what_it_is_told() -> None:
    told = facts()
    card = model_card(told)
    assert card.startswith("---\n")
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["library_name"]) == ("other", "stonkgs")
    assert "f1" in front["metrics"]
    assert "it tells which one of these it is; it was trained on the column correctness:\n\n- incorrect\n- c" in card
    assert cells(card, "metric") == [["metric", "test", "test, majority class"]]
    assert cells(card, "macro F1") == [["macro F1", "0.6667", "0.2500"]]
    assert cells(card, "rows") == [["rows", "3", "3"]]
    (scores, rows) = cells(card, "correct")
    assert scores[:5] == ["correct", "2", "1.0000", "0.5000", "0.6667"]
    assert rows == ["correct", "2,000", "2"]
    assert cells(card, "correctness")[0] == ["correctness", "12,345", ENDS]
    assert cells(card, "torch") == [["torch", "2.13.0"]]
    assert "temperature 1.235" in card
    assert "2025-01-31" in card
    assert "To be filled in" in card
    assert "stonkgs predict model.path=" in blocks(card, "bash")[0]
    assert blocks(card, "bash")[1] == told["command"]
    config = yaml.safe_load(blocks(card, "yaml")[0])
    assert config == {**told["config"], "path": "/somewhere", "list": [1, 2]}


def test_a_multi_label_task_is_told_as_one() -> None:
    told = facts()
    told["task"]["multi_label"] = True
    assert "it tells which of these classes it has, several or none; it was trained on" in model_card(told)


def test_validation_has_a_column_where_there_is_one() -> None:
    told = facts()
    told["metrics"]["validation"] = told["metrics"]["test"]
    assert cells(model_card(told), "metric")[0][1:] == ["test", "test, majority class", "validation"]


def test_a_metric_without_a_title_stands_under_its_own_name() -> None:
    told = facts()
    told["metrics"]["test"]["hamming"] = 0.25
    card = model_card(told)
    assert cells(card, "hamming") == [["hamming", "0.2500", "–"]]
    assert not cells(card, "per_class")


def test_what_is_undefined_is_a_dash() -> None:
    told = facts()
    told["metrics"]["test"] |= {"auroc": None, "nll": float("nan")}
    card = model_card(told)
    assert cells(card, "AUROC (macro)")[0][1] == "–"
    assert cells(card, "negative log-likelihood (nats, less is better)")[0][1] == "–"
    assert escaped(float("inf")) == "–"


@pytest.mark.parametrize("missing", sorted(facts()))
def test_what_is_missing_is_no_empty_place(missing: str) -> None:
    told = facts()
    del told[missing]
    with pytest.raises((KeyError, UndefinedError), match=missing):
        model_card(told)


NASTY = [
    "a|b",
    "x\n---\nlicense: mit",
    "````\n```",
    "| a |\n| b |",
    "# h",
    "<b>&",
    "a\\",
    "\x1b[31m",
    "---",
    "$x$",
    "\u2028",
]


@pytest.mark.parametrize("name", NASTY)
def test_no_name_breaks_it(name: str) -> None:
    plain, nasty = model_card(facts()), model_card(facts(name, (name, name + "2")))
    assert shape(nasty) == shape(plain)
    assert nasty.split("\n---\n")[0] == plain.split("\n---\n")[0]
    (config,) = blocks(nasty, "yaml")
    assert yaml.safe_load(config)["text"] == name


def shape(card: str) -> list[str]:
    """A card without its texts: what each line outside fences is, and its table's borders."""
    kinds, fence = [], ""
    for line in card.split("\n"):
        run = line[: len(line) - len(line.lstrip("`"))]
        if fence or len(run) > 2:
            fence = "" if fence and line == fence else fence or run
        elif line.startswith("|"):
            borders = line.replace("\\\\", "").replace("\\|", "").count("|")
            kinds.append(f"table {borders}")
        else:
            kinds.append(line if line.startswith(("##", "---")) else line[:2])
    assert not fence
    return kinds


@given(st.text())
def test_inline_is_one_line_of_plain_text(text: str) -> None:
    line = inline(text)
    assert len(line.splitlines()) <= 1
    assert line.isprintable()
    assert not {"<", "|", "`"} & set(line.replace("\\|", "").replace("\\`", "")) or "\\\\" in line
    assert not line.replace("\\\\", "").endswith("\\")


def test_inline_leaves_plain_words_alone() -> None:
    for text in ["data/test_set-2.tsv.gz", "p(HGNC:4910 ! HIF1A)", "2.13.0+cpu", "-5", "β"]:
        assert inline(text) == text
    assert [inline(text) for text in ("_a_b_", "1. x", "## x")] == ["\\_a_b\\_", "1\\. x", "\\## x"]


@given(st.text("`a\n", max_size=30))
def test_a_fence_is_longer_than_any_inside(text: str) -> None:
    first, *inside, last = fenced(text, "yaml").split("\n")
    assert first == last + "yaml"
    assert not any(line.startswith(last) for line in inside)
