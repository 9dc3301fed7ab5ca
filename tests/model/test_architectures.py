"""The baselines' networks against a plain computation, their folders, and models of random weights."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NODES
from network_inputs import network_inputs
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertModel

from stonkgs.cli import main
from stonkgs.encode.text import TextEncoder
from stonkgs.encode.vocabulary import SPECIAL, learn_vocabulary
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.config import ARCHITECTURES, ModelConfig
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import GraphOnly, Inputs, Network, STonKGs, TextOnly, Triple
from stonkgs.model.predictor import Predictor
from stonkgs.model.weights import read_weights
from stonkgs.statement import Statement

WALK, TEXT, HIDDEN, WORDS = 4, 12, 16, 50
BERT: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
}
LABELS = ("a", "b", "c")
#: The architectures of this package; other tests define some of their own.
BUILT_IN = [kind for kind in Network.known.values() if kind.__module__.startswith("stonkgs.")]


def make(kind: type[Network], *, legacy: bool = False, pooler: bool = False) -> Any:
    torch.manual_seed(1)
    config = ModelConfig(
        lm_backbone=BERT,
        bert=BERT,
        labels=LABELS,
        architecture=kind.architecture,
        text_length=TEXT,
        walk_length=WALK,
        special_tokens=(1, 2, 3),
        legacy_text_padding=legacy,
        text_pooler=pooler,
    )
    network = kind(config, TextEncoder(path="none")).eval().double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def inputs() -> Inputs:
    """Four rows over three texts. No node is known in the last row, one of the two in the row before."""
    torch.manual_seed(2)
    lengths = torch.tensor([3, 5, 9])
    tokens = torch.randint(4, WORDS, (3, 9))
    tokens[torch.arange(9) >= lengths[:, None]] = 0
    graph = torch.randint(3, 23, (4, 2 * WALK + 2))
    graph[:, [WALK, 2 * WALK + 1]] = 1
    graph[0, 2] = 2
    graph[2:, :WALK] = 0
    graph[3, WALK + 1 : -1] = 0
    # All below 0: what stands for nothing must not be the largest.
    vectors = -torch.rand(20, HIDDEN, dtype=torch.double) - 1
    return network_inputs(tokens=tokens, lengths=lengths, text=torch.tensor([0, 1, 2, 1]), vectors=vectors, graph=graph)


@pytest.mark.parametrize("legacy", [False, True])
def test_text_only_is_the_first_hidden_state_of_the_librarys_bert(legacy: bool) -> None:
    network, given = make(TextOnly, legacy=legacy), inputs()
    bert: Any = BertModel(BertConfig(**BERT), add_pooling_layer=False).double()
    bert.load_state_dict(network.lm_backbone.state_dict())
    bert.eval()
    tokens = functional.pad(given["text"]["tokens"], (0, TEXT - given["text"]["tokens"].shape[1]))
    mask = (torch.arange(TEXT) < given["text"]["lengths"][:, None]).long()
    with torch.no_grad():
        hidden = bert(tokens, attention_mask=torch.ones_like(mask) if legacy else mask).last_hidden_state
        wanted = network.classifier(hidden[given["text"]["index"], 0])
        assert (network(given) - wanted).abs().max() < 1e-12


def test_with_the_pooler_it_is_the_librarys_pooled_output() -> None:
    """As in the first implementation, whose text-only baseline was a BertForSequenceClassification."""
    network, given = make(TextOnly, pooler=True), inputs()
    bert: Any = BertModel(BertConfig(**BERT)).double()
    bert.load_state_dict(network.lm_backbone.state_dict())
    bert.eval()
    mask = (torch.arange(9) < given["text"]["lengths"][:, None]).long()
    with torch.no_grad():
        pooled = bert(given["text"]["tokens"], attention_mask=mask).pooler_output
        assert (network(given) - network.classifier(pooled[given["text"]["index"]])).abs().max() < 1e-12


def largest(given: Inputs) -> Tensor:
    """Row by row: the largest value of each dimension over the known nodes; zeros where there are none."""
    rows = []
    for row in given["walks"]["graph"].tolist():
        known = [given["walks"]["vectors"][node - 3] for node in row if node >= 3]
        rows.append(torch.stack(known).max(dim=0).values if known else torch.zeros(HIDDEN, dtype=torch.double))
    return torch.stack(rows)


def test_graph_only_is_the_maximum_over_known_nodes() -> None:
    network, given = make(GraphOnly), inputs()
    pooled = largest(given)
    assert pooled[:3].max() < 0
    assert not pooled[3].any()
    with torch.no_grad():
        assert torch.equal(network(given), network.classifier(pooled))
    assert set(network.state_dict()) == {"classifier.weight", "classifier.bias"}


def test_graph_only_where_no_node_of_a_batch_is_known() -> None:
    network = make(GraphOnly)
    graph = torch.zeros(2, 2 * WALK + 2, dtype=torch.int64)
    graph[:, [WALK, 2 * WALK + 1]] = 1
    given: Inputs = {"walks": {"vectors": torch.zeros(0, HIDDEN, dtype=torch.double), "graph": graph}}
    with torch.no_grad():
        assert torch.equal(network.pooled(given), torch.zeros(2, HIDDEN, dtype=torch.double))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_graph_only_does_not_hide_damaged_vectors(value: float) -> None:
    """Zeros are for unknown nodes. What is no number comes out as none, and the Predictor refuses it."""
    network, given = make(GraphOnly), inputs()
    given["walks"]["vectors"][:] = value
    assert not network.pooled(given)[:3].isfinite().any()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_unknown_statement_alone(kind: Any, model_path: Path, kge_path: Path) -> None:
    """A batch of one row, of whose nodes none is known, and without a text."""
    start = STonKGs.from_pretrained(model_path) if kind is STonKGs else kind.part_of(model_path)
    predictor = Predictor(start.with_classes(("x", "y")), str(kge_path))
    given = [("nobody", "no one", ""), (NODES[0], NODES[1], "a b"), ("nobody", NODES[-1], "c")]  # the last has no walk
    rows = [Statement(*names, {"relation": relation}) for names, relation in zip(given, ["", "x", "NA"], strict=True)]
    alone = [found.probabilities["x"] for found in predictor.predict_iter(rows, window=1)]
    together = [found.probabilities["x"] for found in predictor.predict_iter(rows)]
    assert alone == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("kind", [TextOnly, GraphOnly, STonKGs, Triple])
def test_only_the_joint_bert_keeps_the_defects_of_a_published_checkpoint(kind: type[Network], golden: Path) -> None:
    upstream = golden / "upstream"
    part = kind.part_of(str(upstream / "checkpoint"), tokenizer=str(upstream / "lm_backbone"))
    keeps = issubclass(kind, STonKGs)
    assert (part.config.legacy_node_shift, part.config.legacy_text_padding) == (keeps, keeps)
    assert part.padded_to == (part.config.text_length if keeps else None)
    assert part.config.kge_match == "exact", "theirs found nodes by their exact names, too"


def test_the_pooler_of_a_published_checkpoint(golden: Path, model_path: Path, tmp_path: Path) -> None:
    upstream = golden / "upstream"
    part = TextOnly.part_of(str(upstream / "checkpoint"), tokenizer=str(upstream / "lm_backbone"), pooler=True)
    part.with_classes(("x", "y")).save_pretrained(tmp_path / "saved")
    back = Network.from_pretrained(tmp_path / "saved")
    assert back.config == part.config
    name = "lm_backbone.pooler.dense.weight"
    assert torch.equal(back.state_dict()[name], read_weights(upstream / "checkpoint")[name])
    with pytest.raises(UserError, match=r"the weights lack lm_backbone\.pooler\.dense\.bias and 1 more"):
        TextOnly.part_of(model_path, pooler=True)
    config = TextOnly.part_of(model_path).config.to_json()
    assert "text_pooler" not in config
    assert "divisions" not in config, "the digest of an earlier model stays"


@pytest.mark.parametrize("kind", [TextOnly, GraphOnly])
def test_a_part_of_a_model(kind: type[Network], model_path: Path) -> None:
    whole, part = STonKGs.from_pretrained(model_path), kind.part_of(model_path)
    assert type(part) is kind
    assert part.config.architecture == kind.architecture
    assert part.config.labels == ()
    assert (part.config.text_length, part.config.walk_length) == (whole.config.text_length, whole.config.walk_length)
    wanted = {name: weight for name, weight in whole.state_dict().items() if name.startswith("lm_backbone.")}
    state = part.state_dict()
    assert set(state) == (set(wanted) if kind is TextOnly else set())
    assert all(torch.equal(state[name], wanted[name]) for name in state)
    assert not part.training


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize(("multi_label", "temperature"), [(False, 1.0), (True, 1.75)])
def test_a_folder_holds_all_of_it(
    kind: Any, multi_label: bool, temperature: float, model_path: Path, tmp_path: Path
) -> None:
    start = STonKGs.from_pretrained(model_path) if kind is STonKGs else kind.part_of(model_path)
    network = start.with_classes(LABELS, multi_label=multi_label)
    network.config = ModelConfig(**{**vars(network.config), "temperature": temperature})
    network.save_pretrained(tmp_path / "saved")
    back = Network.from_pretrained(tmp_path / "saved")
    assert type(back) is kind
    assert back.config == network.config
    assert (back.config.labels, back.config.multi_label) == (LABELS, multi_label)
    assert back.config.temperature == temperature
    assert Network.from_pretrained(tmp_path / "saved", calibrated=False).config.temperature == 1
    before, after = network.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_classifier_stays_where_the_classes_do(model_path: Path) -> None:
    def loaded() -> Network:
        return STonKGs.from_pretrained(model_path)

    weight = loaded().classifier.weight
    assert torch.equal(loaded().with_classes(("incorrect", "correct")).classifier.weight, weight)
    for labels, several in (
        (("correct", "incorrect"), False),
        (("incorrect", "correct", "neither"), False),
        (("incorrect", "correct"), True),
    ):
        torch.manual_seed(5)
        network = loaded().with_classes(labels, multi_label=several)
        assert (network.config.labels, network.config.multi_label) == (labels, several)
        assert network.classifier.weight.shape == (len(labels), network.config.dimension)
        assert not network.classifier.bias.any()
        assert 0.005 < float(network.classifier.weight.detach().std()) < 0.04
        assert not torch.equal(network.classifier.weight[:2], weight)
        torch.manual_seed(5)
        again = loaded().with_classes(labels, multi_label=several)
        assert torch.equal(again.classifier.weight, network.classifier.weight)


def test_a_new_training_forgets_the_temperature(model_path: Path) -> None:
    network = STonKGs.from_pretrained(model_path)
    network.config = ModelConfig(**{**vars(network.config), "temperature": 3.0})
    assert network.with_classes(network.config.labels).config.temperature == 1


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("architecture", "lstm", r"architecture is 'lstm'; it must be KNOWN"),
        ("architecture", ["stonkgs"], r"architecture is \['stonkgs'\]; it must be"),
        ("temperature", 0, r"temperature is 0; it must be a number from 0.01 to 100"),
        ("temperature", "hot", r"temperature is 'hot'; it must be a number"),
        ("temperature", float("nan"), r"temperature is nan; it must be a number"),
        ("temperature", True, r"temperature is True; it must be a number"),
        ("multi_label", 1, r"multi_label is 1; it must be true or false"),
        ("multi_label", "no", r"multi_label is 'no'; it must be true or false"),
        ("architecture", "text_only", r".*which this model has not"),
    ],
)
def test_a_config_of_nonsense(key: str, value: Any, wanted: str, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    wanted = wanted.replace("KNOWN", " or ".join(ARCHITECTURES) + "$")
    with pytest.raises(UserError, match=rf"^{re.escape(str(folder))}(/config\.json)?: {wanted}") as caught:
        Network.from_pretrained(folder)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ fresh

SENTENCES = [f"HIF1A activates β-catenin{number % 7} in hypoxic cells, and inhibits p53" for number in range(40)]
SIZES: dict[str, Any] = {"num_layers": 1, "num_heads": 2, "text_length": 20, "words": 120}


def fresh(kge: Path, folder: Path, **settings: Any) -> Network:
    torch.manual_seed(3)
    return Fresh(**{**SIZES, **settings}).make(KgeStore(path=kge), lambda: iter(SENTENCES), folder)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_each_architecture_says_which_berts_it_has(kind: type[Network], kge_path: Path, tmp_path: Path) -> None:
    state = fresh(kge_path, tmp_path, architecture=kind.architecture).state_dict()
    assert {name.split(".")[0] for name in state} == set(kind.berts)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_two_fresh_models_of_one_seed_are_one(kind: type[Network], kge_path: Path, tmp_path: Path) -> None:
    one, two = (fresh(kge_path, tmp_path / name, architecture=kind.architecture) for name in "ab")
    assert type(one) is kind
    assert one.config == two.config
    assert one.config.dimension == HIDDEN
    states = one.state_dict(), two.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (tmp_path / "a" / "vocab.txt").read_bytes() == (tmp_path / "b" / "vocab.txt").read_bytes()
    torch.manual_seed(4)
    other = Fresh(**SIZES, architecture=kind.architecture).make(
        KgeStore(path=kge_path), lambda: iter(SENTENCES), tmp_path
    )
    if kind is not GraphOnly:
        name = "lm_backbone.embeddings.word_embeddings.weight"
        assert not torch.equal(other.state_dict()[name], states[0][name])
    one.with_classes(("x", "y")).save_pretrained(tmp_path / "saved")
    assert Network.from_pretrained(tmp_path / "saved").config == one.config


def test_weights_are_drawn_as_berts_are(kge_path: Path, tmp_path: Path) -> None:
    for name, weight in fresh(kge_path, tmp_path).state_dict().items():
        if name.endswith("LayerNorm.weight"):
            assert bool((weight == 1).all()), name
        elif name.endswith("bias"):
            assert not weight.any(), name
        else:
            assert 0.01 < float(weight.std()) < 0.03, name


def test_a_vocabulary_is_learned_alike_in_another_process(tmp_path: Path) -> None:
    here = learn_vocabulary(iter(SENTENCES), 120, tmp_path / "here" / "vocab.txt").read_text("utf-8")
    script = (
        "import sys, pathlib; from stonkgs.encode.vocabulary import learn_vocabulary;"
        "learn_vocabulary(iter(sys.stdin.read().split('\\n')), 120, pathlib.Path(sys.argv[1]))"
    )
    there = tmp_path / "there.txt"
    command = [sys.executable, "-c", script, str(there)]
    subprocess.run(command, input="\n".join(SENTENCES).encode(), check=True, cwd=Path(__file__).parents[2])
    assert there.read_text("utf-8") == here
    entries = here.splitlines()
    assert tuple(entries[:5]) == SPECIAL
    assert len(entries) == len(set(entries)) <= 120
    assert "activates" in entries, "lower-cased words of the texts"
    assert not {entry for entry in entries[5:] if entry != entry.lower()}
    numbers, cut = TextEncoder(path=str(there))(["HIF1A activates p53"])[0]
    assert not cut
    assert entries.index("activates") in numbers.tolist()


def test_a_given_vocabulary(kge_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\n".join([*SPECIAL, "hif1a", "activates"]) + "\n")
    network = fresh(kge_path, tmp_path / "out", vocabulary=str(path))
    assert network.config.lm_backbone["vocab_size"] == 7
    assert network.text(["HIF1A activates"])[0][0].tolist() == [2, 5, 6, 3]
    assert not (tmp_path / "out").exists()
    path.write_text("hif1a\n")
    with pytest.raises(UserError, match="not a BERT vocabulary"):
        fresh(kge_path, tmp_path / "out", vocabulary=str(path))


def test_heads_that_do_not_divide(kge_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.num_heads=3: the store's vectors of 16 do not divide so$"):
        fresh(kge_path, tmp_path / "out", num_heads=3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"architecture": "lstm"}, "model.architecture=lstm: there are KNOWN"),
        ({"num_layers": 0}, "model.num_layers=0: must be a whole number of 1 or more"),
        ({"num_heads": 2.5}, "model.num_heads=2.5: must be a whole number of 1 or more"),
        ({"text_length": 1}, "model.text_length=1: must be a whole number of 2 or more"),
        ({"words": 10}, "model.words=10: must be a whole number of 100 or more"),
        ({"dropout": 1.5}, "model.dropout=1.5: must be a number from 0 to below 1"),
    ],
)
def test_settings_of_a_fresh_model(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(UserError) as caught:
        Fresh(**settings)
    assert str(caught.value) == wanted.replace("KNOWN", ", ".join(ARCHITECTURES))


def test_a_baseline_is_shown_and_predicts(
    model_path: Path, tmp_path: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of a baseline is a model like any other."""
    GraphOnly.part_of(model_path).with_classes(("x", "y")).save_pretrained(tmp_path / "graph")
    assert main(["model", "info", str(tmp_path / "graph")]) == 0
    arguments = [argument for argument in small_run if not argument.startswith("model.path")]
    assert main(["predict", f"model.path={tmp_path}/graph", *arguments]) == 0, capsys.readouterr().err
    header = (tmp_path / "out" / "predictions.tsv").read_text("utf-8").splitlines()[0]
    assert header.split("\t")[3:6] == ["x", "y", "prediction"]
    shutil.rmtree(tmp_path / "out")
