"""Statements to examples: above all how their nodes are found."""

import pickle
from pathlib import Path
from typing import Literal

import pytest
from conftest import NODES

from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found, Nodes
from stonkgs.encode.walks import Walks
from stonkgs.kge.shift import SEPARATOR, UNKNOWN
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement

RENAMED = "p(HGNC:4910 ! HIF-1)"


Match = Literal["exact", "identifier"]


def encoder(model_path: Path, kge_path: Path, match: Match) -> Encoder:
    return Predictor(str(model_path), KgeStore(path=kge_path, match=match)).encoder()


def match_of(encoder: Encoder) -> str:
    nodes, walks = encoder.inputs["nodes"], encoder.inputs["walks"]
    assert isinstance(nodes, Nodes)
    assert isinstance(walks, Walks)
    assert nodes.match == walks.nodes.match
    return nodes.match


@pytest.mark.parametrize(
    ("match", "found"),
    [("exact", (Found.EXACT, Found.UNKNOWN)), ("identifier", (Found.EXACT, Found.IDENTIFIER))],
)
def test_a_renamed_symbol(match: Match, found: tuple[Found, Found], model_path: Path, kge_path: Path) -> None:
    (example,) = encoder(model_path, kge_path, match)([Statement(NODES[0], RENAMED, "x")])
    assert example.found == found
    source, target = example.rows[:5].tolist(), example.rows[6:11].tolist()
    assert target == (source if match == "identifier" else [UNKNOWN] * 5)
    assert example.rows[[5, 11]].tolist() == [SEPARATOR] * 2


@pytest.mark.parametrize("name", ["", "nobody", "p(HGNC:4910 ! HIF1A) ", "p(HGNC:49100 ! HIF1A)", "\ud800"])
def test_what_is_not_there_is_unknown_either_way(name: str, model_path: Path, kge_path: Path) -> None:
    for match in ("exact", "identifier"):
        (example,) = encoder(model_path, kge_path, match)([Statement(name, name, "x")])
        assert example.found == (Found.UNKNOWN, Found.UNKNOWN)


def test_the_model_says_how_unless_the_user_does(model_path: Path, kge_path: Path) -> None:
    model = STonKGs.from_pretrained(str(model_path))
    assert match_of(Predictor(model, kge_path).encoder()) == "identifier", "the default for models of ours"
    assert match_of(Predictor(model, KgeStore(path=kge_path, match="exact")).encoder()) == "exact"


def test_published_checkpoints_find_names_as_they_always_did(golden: Path, golden_kge: Path) -> None:
    model = STonKGs.from_pretrained(
        str(golden / "upstream" / "checkpoint"), tokenizer=str(golden / "upstream" / "lm_backbone")
    )
    assert match_of(Predictor(model, golden_kge).encoder()) == "exact"


def test_pickles_small(model_path: Path, kge_path: Path) -> None:
    made = encoder(model_path, kge_path, "identifier")
    made([Statement("a", "b", "c")])
    again = pickle.loads(pickle.dumps(made))
    assert len(pickle.dumps(made)) < 2000
    assert match_of(again) == "identifier"
