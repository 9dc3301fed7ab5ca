"""A published model by its name, from nothing to probabilities, and the same as by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import NODES, write_lines
from published.server import Site, stop

from stonkgs.cli import main
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.published.catalog import GRAPH, MODELS, VECTORS, VOCABULARY, WALKS


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Statements, and labels for a training."""
    lines = [["source", "target", "evidence", "label"]]
    lines += [
        [NODES[number], NODES[-2 - number], f"p53 acts on a cell {number}", "ab"[number % 2]] for number in range(40)
    ]
    return write_lines(tmp_path / "mine.tsv", [*lines, ["nobody", NODES[2], "", "a"]])


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def by_hand(place: str, labels: Sequence[str], cache: Path, folder: Path) -> list[str]:
    """Arguments of predict for what the README's commands make of the files."""
    files = cache / "files"
    graph = files / GRAPH.folder
    store, model = folder / "kge.h5", folder / "model"
    assert run("kge", "build", "--vectors", graph / VECTORS, "--walks", graph / WALKS, "--output", store) == 0
    told = ["--tokenizer", files / VOCABULARY.folder, "--kge", store, "--output", model]
    told += ["--labels", ",".join(labels)] if labels else []
    assert run("model", "convert", files / place, *told) == 0
    return [f"model.path={model}", f"kge.path={store}"]


def test_species_is_what_it_is_by_hand_and_then_needs_no_network(
    site: Site, cache: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"source.path={rows}", "batch.size=8"]
    assert run("predict", "model=species", *given, f"output_dir={tmp_path / 'first'}") == 0
    printed = capsys.readouterr()
    assert "HTTP" not in printed.out
    told = printed.err.splitlines()
    assert [line.split()[0] for line in told] == ["fetching", "made"]
    assert f"made {cache / 'kge.h5'} and {cache / 'models' / 'species'}; " in told[1]
    stop(site)
    asked = len(site.asked)
    assert run("predict", "model=species", *given, f"output_dir={tmp_path / 'second'}") == 0
    assert capsys.readouterr().err == ""
    labels = MODELS["species"].labels
    assert labels
    paths = by_hand(MODELS["species"].deposit.folder, labels, cache, tmp_path)
    assert run("predict", *paths, *given, f"output_dir={tmp_path / 'by-hand'}") == 0
    tables = [(tmp_path / name / "predictions.tsv").read_bytes() for name in ("first", "second", "by-hand")]
    assert tables[0] == tables[1] == tables[2]
    assert tables[0].splitlines()[0].split(b"\t")[4:7] == [b"mouse", b"rat", b"human"]
    assert len(set(tables[0].splitlines())) == 42
    first, by_hands = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("first", "by-hand"))
    assert first["model"] == by_hands["model"]
    assert len(site.asked) == asked


def test_a_store_of_ones_own_is_taken_and_must_be_the_models(
    site: Site, rows: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], kge_path: Path
) -> None:
    """kge_path is built of the same files, and so it is the same store."""
    given = ["model=species", f"source.path={rows}", f"kge.path={kge_path}"]
    assert run("predict", *given, f"output_dir={tmp_path / 'out'}") == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["config"]["kge"]["path"] == str(kge_path)
    assert run("predict", "model=species", f"source.path={rows}", "kge=example", f"output_dir={tmp_path / 'x'}") == 1
    assert "this is another model's store" in capsys.readouterr().err
    assert run("predict", "model=species", f"source.path={rows}", "kge.path=", f"output_dir={tmp_path / 'x'}") == 1
    assert "kge.path= is empty" in capsys.readouterr().err


def test_a_pretrained_one_is_trained(
    site: Site, rows: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trained"
    given = [f"source.path={rows}", "task.name=label", "epochs=1", "batch.size=8", f"output_dir={out}"]
    given += ["protocol.test=0.3", "protocol.validation=0"]
    assert run("train", "model=stonkgs-150k", *given) == 0, capsys.readouterr().err
    assert Network.from_pretrained(out / "model").config.labels == ("a", "b")
    again = ["predict", f"model.path={out / 'model'}", f"source.path={rows}", f"output_dir={tmp_path / 'rated'}"]
    assert run(*again, "kge=published") == 0, capsys.readouterr().err


def test_from_python(site: Site, cache: Path) -> None:
    predictor = Predictor(Network.published("correct_binary"), KgeStore.published())
    (found,) = predictor.predict([(NODES[0], NODES[1], "HIF1A")])
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert KgeStore.published(path="mine.h5").path == "mine.h5"


def test_a_name_that_is_none(cache: Path, rows: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = [f"source.path={rows}", f"output_dir={tmp_path / 'out'}"]
    for name in ("spezies", "../../etc", "[species]", "null"):
        assert run("predict", "model=species", *given, f"model.name={name}") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "there is no such published model; there are species, location, " in error
    assert not cache.exists()
