"""STonKGs' variants from end to end: what they read, what comes out, and what is said where one cannot work."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import HIDDEN, NODES, ROOT, write_lines

from stonkgs.cli import main
from stonkgs.encode.triple import Triples
from stonkgs.errors import UserError
from stonkgs.kge.shift import SEPARATOR, UNKNOWN
from stonkgs.kge.store import KgeStore
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import GraphOnly, Network, STonKGs, TextOnly, Triple
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Rejection, Statement

COMMANDS = re.findall(
    r"^```bash\n(.*?)^```", (ROOT / "docs" / "variants.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def walkless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of NODES and four relations, without walks. A relation is called as a node's label might be."""
    folder = tmp_path_factory.mktemp("walkless")
    names = [*NODES, "increases", "decreases", "increases ! X", "7"]
    vectors = np.random.default_rng(1).normal(size=(len(names), HIDDEN))
    write_lines(folder / "vectors.tsv", [[name, *map(str, row)] for name, row in zip(names, vectors, strict=True)])
    assert main(["kge", "build", "--vectors", f"{folder}/vectors.tsv", "--output", f"{folder}/kge.h5"]) == 0
    return folder / "kge.h5"


@pytest.fixture(scope="module")
def model(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights, two classes."""
    folder = tmp_path_factory.mktemp("triple") / "model"
    torch.manual_seed(0)
    network = Triple.part_of(model_path).with_classes(("no", "yes"))
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    network.save_pretrained(folder)
    return folder


def row(relation: object, source: str = NODES[0], target: str = NODES[2], **others: object) -> dict[str, Any]:
    return {"source": source, "target": target, "evidence": "HIF1A acts", "relation": relation, **others}


def test_the_rows_of_a_triple(walkless: Path, model: Path) -> None:
    store = KgeStore(path=walkless, match="identifier")
    triples = Network.from_pretrained(model).inputs(store)["triple"]
    assert isinstance(triples, Triples)
    given: list[tuple[str, object, str]] = [
        (NODES[0], "increases", NODES[1]),
        ("p(HGNC:4910 ! OTHER)", "increases ! Y", "nobody"),  # a node is found by its identifier, a relation is not
        ("", "Increases", NODES[3]),
        *((NODES[1], value, NODES[1]) for value in (None, 5, ["increases"], "\ud800", float("nan"))),
        (NODES[1], NODES[0], NODES[1]),  # any name of the store
        *((NODES[1], value, NODES[1]) for value in (7, 7.0)),  # as a graph of such rows names it
    ]
    values = triples.encode([Statement(source, target, "", {"relation": name}) for source, name, target in given])
    first = store.number("increases")
    wanted = [[0, first, 1], [0, UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN, 3], *[[1, UNKNOWN, 1]] * 5, [1, 0, 1]]
    wanted += [[1, store.number("7"), 1]] * 2
    assert [value.rows.tolist() for value in values] == [[*half, SEPARATOR] for half in wanted]
    arrays = triples.collate(values)
    assert arrays["known"].tolist() == [True, *[False] * 7, *[True] * 3]
    assert arrays["nodes"].tolist() == [0, 1, 3, first, store.number("7")]
    assert arrays["graph"].tolist()[1] == [3, 0, 0, 1]
    assert triples.encode([Statement(NODES[1], NODES[1], "")])[0].rows.tolist() == [1, UNKNOWN, 1, SEPARATOR]


def test_a_row_depends_on_its_relation_and_not_on_its_neighbours(walkless: Path, model: Path) -> None:
    predictor = Predictor(model, walkless, device="cpu")
    rows = [row("increases"), row("decreases"), row("unheard of"), row(None), row("increases", source="nobody")]
    together = predictor.predict(rows)
    alone = [predictor.predict([one])[0] for one in rows]
    assert [found.relation_known for found in together] == [True, True, False, False, True]
    probabilities = [found.probabilities["yes"] for found in together]
    assert probabilities == pytest.approx([found.probabilities["yes"] for found in alone], abs=1e-6)
    assert probabilities[2] == pytest.approx(probabilities[3], abs=1e-6), "one vector stands for all that is unknown"
    assert len({round(value, 4) for value in probabilities}) == 4
    worked = predictor.predict(rows, num_workers=1)
    assert [found.probabilities["yes"] for found in worked] == pytest.approx(probabilities), "workers get the relation"


def test_embeddings_read_the_relation_but_for_those_of_the_text(walkless: Path, model: Path, tmp_path: Path) -> None:
    predictor = Predictor(model, walkless, device="cpu")
    pair = [row("increases"), row("decreases")]
    for what in ("pooled", "mean"):
        first, second = predictor.embed(pair, what=what)
        assert np.abs(first.embedding - second.embedding).max() > 1e-4
        assert first.relation_known
    bare = [(NODES[0], NODES[2], "HIF1A acts")]
    with pytest.raises(UserError, match="no 'relation', which the model reads"):
        predictor.embed(bare)
    (text,) = predictor.embed(bare, what="text")
    assert text.relation_known is None
    paths = [f"model.path={model}", f"kge.path={walkless}", f"source.path={tmp_path}/rows.tsv"]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *map(list, bare)])
    assert main(["embed", *paths, f"output_dir={tmp_path}/refused"]) == 1
    assert main(["embed", *paths, f"output_dir={tmp_path}/out", "what=text", "writer=npy"]) == 0
    seen = np.load(tmp_path / "out" / "embeddings.npy", allow_pickle=False)
    assert np.abs(seen[0] - text.embedding).max() < 1e-6


def test_rows_of_all_kinds_in_memory(walkless: Path, model: Path) -> None:
    predictor, rejected = Predictor(model, walkless, device="cpu"), list[Rejection]()
    lacking = {key: value for key, value in row("increases").items() if key != "relation"}
    statement = Statement(NODES[0], NODES[2], "HIF1A acts", {"relation": "increases"})
    rows = [row("increases"), lacking, (NODES[0], NODES[2], "HIF1A acts"), statement, Statement("a", "b", "c")]
    found = predictor.predict(rows, on_rejected=rejected.append)
    assert [one.prediction for one in found] == [found[0].prediction] * 2
    assert [one.row for one in rejected] == [2, 3, 5]
    with pytest.raises(UserError, match=r"^row 1: no 'relation', which the model reads \(model\.relation names an"):
        predictor.predict([lacking])
    frame = pd.DataFrame([row("increases"), row(None)])
    assert predictor.predict(frame)["yes"][0] == pytest.approx(found[0].probabilities["yes"], abs=1e-6)
    with pytest.raises(UserError, match=r"^the data frame: no column 'relation', which the model reads; there are "):
        predictor.predict(frame.drop(columns="relation"))


def test_indras_statements_have_a_relation_of_another_name(walkless: Path, model: Path) -> None:
    agent = {"name": "HIF1A", "db_refs": {"HGNC": "4910"}}
    statement: dict[str, Any] = {"type": "Activation", "subj": agent, "obj": agent, "obj_activity": "activity"}
    statement["evidence"] = [{"text": "x"}]
    assert not list(predicted(model, walkless, "relation", [statement])), "INDRA's rows have no such column"
    (found,) = predicted(model, walkless, "stmt_type", [statement])
    assert (found.statement.extra["stmt_type"], found.relation_known) == ("Activation", False)


def predicted(model: Path, store: Path, relation: str, rows: list[Any]) -> Iterator[Any]:
    network = Network.from_pretrained(model, relation=relation)
    return Predictor(network, store).predict_iter(rows, on_rejected=lambda _: None)


# --------------------------------------------------------------------------------------------------- from end to end


def write_rows(path: Path, count: int = 120) -> Path:
    """Labels of two columns: `direction` follows from the relation, `half` from nothing."""
    lines = [["source", "target", "evidence", "relation", "direction", "half"]]
    for number in range(count):
        relation = ("increases", "decreases", "regulates")[number % 3]
        direction = "down" if relation == "decreases" else "up"
        nodes = [NODES[number % 11], NODES[number % 7]]
        lines.append([*nodes, f"sentence {number}", relation, direction, ("a", "b")[number // 3 % 2]])
    return write_lines(path, lines)


def test_from_training_to_predictions(walkless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"source.path={write_rows(tmp_path / 'rows.tsv')}", f"kge.path={walkless}", "task=discover"]
    fresh = ["model=fresh", "model.architecture=triple", "model.num_layers=1", "model.words=100", "epochs=1"]
    out = tmp_path / "out"
    assert main(["train", *given, *fresh, "task.name=direction", f"output_dir={out}"]) == 0
    told = capsys.readouterr()
    warning = "the column 'relation', which the model reads, tells the class: it alone explains 100.0% of"
    assert f"beware: {warning}" in told.err
    assert f"beware: {warning}" in told.out
    assert warning in (out / "model" / "README.md").read_text("utf-8")
    network = Network.from_pretrained(out / "model")
    assert (type(network), network.config.walk_length) == (Triple, 0)
    assert network.config.bert["max_position_embeddings"] == network.config.text_length + 4

    predict = ["predict", *given[:2], f"model.path={out}/model", f"output_dir={tmp_path}/predicted"]
    assert main([*predict, "plan_only=true"]) == 0
    assert "sources 100.0%, targets 100.0%, relations 66.7% of 120 rows sampled" in capsys.readouterr().out
    assert main([*predict, "split.rows=50"]) == 0
    assert "relations           120   66.7% known, 33.3% unknown\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "predicted" / "run.json").read_text())["result"]["relations_unknown"] == 40

    # its weights without the classifier, for a label that the relation does not tell
    again = ["train", *given, "model=triple", f"model.path={out}/model", "epochs=1", f"output_dir={tmp_path}/other"]
    assert main([*again, "task.name=half"]) == 0
    assert "tells the class" not in "".join(capsys.readouterr())


def test_what_is_said_in_one_line(
    walkless: Path, model: Path, model_path: Path, kge_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, store, ours = (
        f"source.path={write_rows(tmp_path / 'rows.tsv')}",
        f"kge.path={walkless}",
        f"model.path={model}",
    )
    others = "there are ['relation', 'direction', 'half']. Name yours with model.relation="
    needs = f"{walkless}: has no walks, which the model reads; build the store with them (--walks)"
    told = "task.column=relation: the model reads this column (model.relation=), so it would be told the answer"
    predict, walks = ["predict", source, store], f"model.path={model_path}"
    train = ["train", source, store, "task=discover"]
    half, relation, triple = "task.name=half", "task.name=relation", "model.architecture=triple"
    cases = [
        ([*predict, ours, "model.relation=verb"], f"the input: no column 'verb', which the model reads; {others}"),
        ([*predict, ours, "model.relation=evidence"], "the input: no column 'evidence', which the model reads; there"),
        ([*predict, ours, "model.relation=''"], "model.relation: relation_column is ''; it must be a name"),
        (
            ["predict", source, f"kge.path={kge_path}", walks, "model.relation=x"],
            "reads no relation; leave this key out",
        ),
        ([*predict, walks], needs),
        ([*train, "model=fresh", half], needs),
        ([*train, "model=fresh", half, triple, "model.relation=verb"], "the input: no column 'verb', which the model"),
        ([*train, "model=fresh", relation, triple], told),
        ([*train, "model=triple", ours, relation], told),
    ]
    for command, wanted in cases:
        assert main([*command, f"output_dir={tmp_path}/out"]) == 1, command
        (line,) = capsys.readouterr().err.splitlines()
        assert wanted in line, command
    assert not (tmp_path / "out").exists()


def test_parts_of_it_and_what_it_is_made_of(
    model: Path, model_path: Path, walkless: Path, kge_path: Path, tmp_path: Path
) -> None:
    whole, part = STonKGs.from_pretrained(model_path), Triple.part_of(model_path, relation="predicate")
    state = whole.state_dict()
    assert part.config.relation_column == "predicate"
    assert set(part.state_dict()) == {name for name in state if not name.startswith("classifier.")}
    assert all(torch.equal(state[name], weight) for name, weight in part.state_dict().items())
    text = TextOnly.part_of(model).with_classes(("x", "y"))
    for store in (walkless, kge_path):
        assert len(Predictor(text, store, any_kge=True).predict([("a", "b", "c")])) == 1, "texts need no walks"
    for kind in (STonKGs, GraphOnly):
        with pytest.raises(UserError, match=r"walk_length is 0; it must be 1 or more for .*, which reads walks$"):
            kind.part_of(model)
    config = json.loads((model / "config.json").read_text())
    assert "relation_column" not in config, "written where it is not the usual one"
    part.save_pretrained(tmp_path / "part")
    assert Network.from_pretrained(tmp_path / "part").config == part.config


def test_columns_are_told_alike_by_all_who_know_them(model: Path, walkless: Path) -> None:
    predictor = Predictor(model, walkless, device="cpu")
    fresh = Fresh(architecture="triple")
    assert dict(predictor.reads) == dict(fresh.columns) == {"relation": "model.relation"}
    assert predictor.encoder().columns == ("relation",)
    assert not Fresh(architecture="text_only").columns
    with pytest.raises(UserError, match=r"^model\.relation=x: model\.architecture=text_only reads no relation$"):
        Fresh(architecture="text_only", relation="x")


def test_the_commands_that_the_page_shows(
    walkless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In their order, in a folder with the files that they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vectors.tsv").write_bytes((walkless.parent / "vectors.tsv").read_bytes())
    write_lines(tmp_path / "walks.tsv", [[name, *[NODES[0]] * 6] for name in NODES])
    rows = (write_rows(tmp_path / "rows.tsv").read_text("utf-8")).splitlines()
    (tmp_path / "labelled.tsv").write_text("\n".join([rows[0].replace("half", "label"), *rows[1:]]) + "\n", "utf-8")
    commands = [shlex.split(line)[1:] for block in COMMANDS for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert len((tmp_path / "predicted" / "predictions.tsv").read_text("utf-8").splitlines()) == 121
    assert Network.from_pretrained(tmp_path / "walks" / "model").config.graph_length == 14
