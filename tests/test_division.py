"""A model's folder says how its rows were divided, and a test of rows that it may have learned says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.division import LEFT_OUT, NAME, Division, division, doubt, extended
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.strict import UNKNOWN
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Network
from stonkgs.protocol import Everything, Grouped, Protocol, Shuffled
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.statement import Statement
from stonkgs.train.unlabelled import Pretraining

ONE, OTHER = (Fingerprint(f"/{name}", 10, 1, name * 64) for name in "ab")


def doubted(before: Protocol, now: Protocol, file: Fingerprint = ONE) -> str:
    """Trained on one file by `before`, tested on a file by `now`, all of it read back from JSON."""
    trained = [json.loads(json.dumps(division(before, [ONE])))]
    tests_all = isinstance(now, Everything)
    return doubt(trained, division(now, [file]), by_row=now.by_row, tests_all=tests_all)


@pytest.mark.parametrize(
    ("before", "now", "file"),
    [
        (Grouped(), Grouped(), ONE),
        (Grouped(), Grouped(), OTHER),  # a hash finds the same part in any file
        (Grouped(), Grouped(validation=0.3), ONE),  # the test part is the same
        (Grouped(), Grouped(max_rows=50), ONE),
        (Grouped(folds=3, fold=1), Grouped(folds=3, fold=1), OTHER),
        (Shuffled(), Shuffled(), ONE),
        (Grouped(), Everything(), OTHER),
        (Shuffled(), Everything(), OTHER),
    ],
)
def test_no_doubt(before: Protocol, now: Protocol, file: Fingerprint) -> None:
    assert doubted(before, now, file) == ""


@pytest.mark.parametrize(
    ("before", "now", "file"),
    [
        (Grouped(), Grouped(seed=1), ONE),
        (Grouped(), Grouped(by="source"), ONE),
        (Grouped(), Grouped(by="source"), OTHER),
        (Grouped(), Grouped(test=0.3), ONE),
        (Grouped(), Grouped(folds=5), ONE),
        (Grouped(folds=5, fold=0), Grouped(folds=5, fold=1), ONE),
        (Grouped(folds=5), Grouped(folds=4), ONE),
        (Grouped(), Shuffled(), ONE),
        (Shuffled(), Shuffled(), OTHER),
        (Shuffled(), Shuffled(seed=1), ONE),
        (Shuffled(), Shuffled(max_rows=50), ONE),
        (Shuffled(), Grouped(), ONE),
        (Grouped(), Everything(), ONE),
        (Everything(), Grouped(), ONE),
    ],
)
def test_another_division_is_named(before: Protocol, now: Protocol, file: Fingerprint) -> None:
    found = doubted(before, now, file)
    assert found.endswith(before.name)
    assert ("this very file" in found) == (file is ONE)


def test_every_earlier_training_counts() -> None:
    first, second = (division(Grouped(seed=seed), [ONE]) for seed in (0, 1))
    trained = extended(extended((), first), second)
    assert trained == (first, second)
    assert extended(trained, first) == (second, first)
    assert "hash seed 0" in doubt(trained, second, by_row=True, tests_all=False)
    assert doubt([first], first, by_row=True, tests_all=False) == ""


@pytest.mark.parametrize("hostile", [{}, {"files": 3, "name": ["x"]}, {"name": "a\nb\x1b[2J" * 999, "by": {}}])
def test_a_folder_of_somebody_elses(hostile: Division) -> None:
    found = doubt([hostile], division(Grouped(), [ONE]), by_row=True, tests_all=False)
    assert len(found) < 400
    assert "\n" not in found
    assert "\x1b" not in found


def test_a_pre_training_says_which_rows_it_left_out() -> None:
    """By where= alone the tested rows may have been learned; beside the tested groups, more left out is no doubt."""
    rows = [Statement("a", "b", "text", {"pmid": str(number)}) for number in range(40)]
    protocol, task = Grouped(by="pmid"), Pretraining()
    assert task.division([ONE]) == {NAME: "pre-trained with all rows", "protocol": None, "files": [[10, "a" * 64]]}
    tests, where = division(protocol, [ONE]), "those with a value of without.where (year)"
    tested = f"those that will be tested ({protocol.name})"
    for groups, pairs, told in (
        (None, False, where),
        (protocol, False, f"{tested} and {where}"),
        (protocol, True, f"{tested} and those about two nodes of a tested row and {where}"),
    ):
        without = LeaveOut(protocol=groups, pairs=pairs, where={"year": [1999]})
        task.choice = without.choice({"source", "target", "evidence", "pmid", "year"}, lambda: rows)
        found = json.loads(json.dumps(task.division([ONE])))
        assert found[NAME] == f"pre-trained with all rows but {told}"
        assert found[LEFT_OUT] == {"where": {"year": ["1999"]}, **({"pairs": True} if pairs else {})}
        assert bool(doubt([found], tests, by_row=True, tests_all=False)) == (groups is None)


def json_of(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())


def test_the_training_finds_its_own_test_part_again(
    tmp_path: Path, kge_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With classes that were discovered, and a value too rare to be one."""
    rows = [["source", "target", "evidence", "label"]]
    for n in range(120):
        rows.append([NODES[n % 9], NODES[n % 7], f"word{n} it", "rare" if n == 60 else ("no", "yes")[n % 2]])
    write_lines(tmp_path / "rows.tsv", rows)
    paths = [f"kge.path={kge_path}", f"source.path={tmp_path}/rows.tsv"]
    settings = [*paths, "task=discover", "task.name=label", "epochs=1", "logger=none"]

    def run(out: str, *more: str) -> Any:
        assert main(["train", *settings, f"output_dir={tmp_path}/{out}", *more]) == 0
        return json_of(tmp_path / out)

    trained = run("out", f"model.path={model_path}")
    test = ["mode=test", f"model.path={tmp_path}/out/model"]
    again = run("again", *test)
    assert again["census"]["rows"] == {part: trained["census"]["rows"][part] for part in again["census"]["rows"]}
    assert again["census"]["unused"] == {"too rare": 1}
    told, retold = (run["metrics"]["test"] for run in (trained, again))
    assert [retold[key] for key in ("rows", "nll", "ece")] == pytest.approx(
        [told[key] for key in ("rows", "nll", "ece")]
    )
    assert again["protocol"] == trained["protocol"] == f"{Grouped().name}; but {UNKNOWN}", "of the store's graph"
    for name, protocol in {"seed": ["protocol.seed=1"], "all": ["protocol=all"]}.items():
        doubtful = run(name, *test, *protocol)
        figures = json.loads((tmp_path / name / "metrics.json").read_text())
        assert figures["protocol"] == doubtful["protocol"]
        assert "; but the model was trained with rows of this very file" in figures["protocol"]
        assert figures["protocol"].endswith(f"; and {UNKNOWN}")
        assert Grouped().name in figures["protocol"]
    for name in ("out", "again"):  # one epoch is not enough
        assert "the model says 'no' of every row of the test part" in " ".join(json_of(tmp_path / name)["remarks"])
    card = (tmp_path / "out" / "model" / "README.md").read_text("utf-8")
    assert "Beware: the model says 'no' of every row of the test part" in card
    assert "beware: the model says 'no' of every row of the test part" in capsys.readouterr().out
    network = Network.from_pretrained(tmp_path / "out" / "model")
    (recorded,) = network.config.divisions
    assert recorded["by"] == "evidence"
    before = model_digest(network)
    network.config = type(network.config)(**{**vars(network.config), "divisions": ()})
    assert model_digest(network) == before, "it decides no probability"
    assert '"divisions"' not in network.config.to_json()
