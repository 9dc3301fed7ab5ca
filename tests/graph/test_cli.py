"""`stonkgs kge train`: options and keys, and one line for each mistake."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import write_lines

from stonkgs.cli import main
from stonkgs.kge.store import KgeStore

#: A ring of 30 nodes, each with the next two, by papers.
ROWS = [
    (f"n{n}", ("is", "of")[n % 2], f"n{(n + step) % 30}", f"text {n}", str(n)) for n in range(30) for step in (1, 2)
]
NETMF = ["method=netmf", "method.dimension=4", "method.walk_length=5"]


@pytest.fixture
def triples(tmp_path: Path) -> str:
    write_lines(tmp_path / "triples.tsv", [list(row[:3]) for row in ROWS])
    return str(tmp_path / "triples.tsv")


@pytest.fixture
def statements(tmp_path: Path) -> str:
    header = ["source", "relation", "target", "evidence", "pmid"]
    write_lines(tmp_path / "a,b.tsv", [header, *map(list, ROWS)])
    return str(tmp_path / "a,b.tsv")


def origin_of(path: Path) -> Any:
    return json.loads(KgeStore(path=path).header.origin)


def test_the_same_graph_of_triples_and_of_statements(
    tmp_path: Path, triples: str, statements: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    assert main(["kge", "train", "--triples", triples, *NETMF, "--output", str(one)]) == 0
    shown = capsys.readouterr().out
    assert "30 nodes of 4 floats, walks of 5 nodes" in shown
    assert "method        netmf: dimension=4, " in shown
    assert "degree-matched" in shown
    assert main(["kge", "train", f"source.path={statements}", "--output", str(other), *NETMF]) == 0
    assert KgeStore(path=one).digest == KgeStore(path=other).digest
    capsys.readouterr()
    assert main(["kge", "info", str(one)]) == 0
    shown = capsys.readouterr().out
    for words in ("60 of 60 rows", "30 nodes, 60 edges, 2 relations", "6 held-out edges, by logistic", "hits@10"):
        assert words in shown
    assert "uniform negatives: AUC" in shown
    assert "{" not in shown


def test_a_strict_store_and_what_a_training_says_of_it(
    tmp_path: Path, statements: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = [["source", "target", "evidence", "pmid", "label"]]
    labelled += [
        [source, target, evidence, pmid, ("no", "yes")[n % 2]]
        for n, (source, _, target, evidence, pmid) in enumerate(ROWS)
    ]
    write_lines(tmp_path / "labelled.tsv", labelled)
    strict = ["--without", str(tmp_path / "labelled.tsv"), "--by", "pmid", "--protocol", "folds", "--fold", "1"]
    strict.append("protocol.folds=2")
    for name, options in {"strict": strict, "plain": []}.items():
        output = ["--output", f"{tmp_path}/{name}.h5", "held_out=0"]
        assert main(["kge", "train", f"source.path={statements}", *NETMF, *output, *options]) == 0
    without = origin_of(tmp_path / "strict.h5")["without"]
    assert without["division"]["by"] == "pmid"
    assert without["division"]["fold"] == 1
    assert origin_of(tmp_path / "strict.h5")["graph"]["left_out"]["group"] > 0
    assert origin_of(tmp_path / "plain.h5")["without"] == {"where": {}}
    settings = [f"source.path={tmp_path}/labelled.tsv", "task=discover", "task.name=label", "epochs=1", "logger=none"]
    settings += [
        "protocol=folds",
        "protocol.folds=2",
        "protocol.by=pmid",
        "patience=null",
    ]
    settings += ["protocol.validation=0.2", "calibrate=false"]

    def protocol(store: str, fold: int, *model: str) -> str:
        capsys.readouterr()
        model = model or ("model=fresh", "model.architecture=graph_only")
        out = f"{tmp_path}/{store}{fold}{len(model)}"
        given = [*settings, f"protocol.fold={fold}", f"kge.path={tmp_path}/{store}.h5", f"output_dir={out}", *model]
        assert main(["train", *given]) == 0
        told = str(json.loads((Path(out) / "run.json").read_text())["protocol"])
        assert json.loads((Path(out) / "metrics.json").read_text())["protocol"] == told
        assert (f"beware: {told.partition('; but ')[2]}" in capsys.readouterr().err) == ("; but " in told)
        return told

    assert "; but " not in protocol("strict", 1)
    assert "; but the store's graph leaves out other rows than those that are tested here" in protocol("strict", 0)
    assert "; but the store's graph leaves out no row for a test" in protocol("plain", 1)
    assert "; but " not in protocol("plain", 1, "model=tfidf")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], r"name the graph: --triples FILE \.\.\., or source=indra source\.path=FILE"),
        (["--triples", "{triples}", "source.path=x"], r"given twice, by --triples and by source\.path="),
        (["--triples", "{folder}/none.tsv"], r"none\.tsv: no such file"),
        (["--triples", "{triples}", "--output", "{triples}"], r"triples\.tsv: is one of the inputs"),
        (["--triples", "{triples}", "--output", "{folder}/no/kge.h5"], r"no/kge\.h5: cannot be written \(No such file"),
        (["--triples", "{triples}", "held_out=0.6"], r"held_out=0\.6: must be a number from 0 to 0\.5"),
        (["--triples", "{triples}", "methud=netmf"], r"there is no key 'methud'; did you mean method\?"),
        (["--triples", "{triples}", "method=nothing"], r"Could not find 'method/nothing'"),
        (["--triples", "{triples}", "--fold", "5"], r"protocol\.fold=5: is one of 0 to 4$"),
        (["--triples", "{triples}", "--fold", "1", "--protocol", "grouped"], r"fold=1: is one of 0 to 0; it counts"),
        (["--triples", "{triples}", "--protocol", "paper"], r"without: only a protocol that divides rows by groups"),
        (
            ["--triples", "{triples}", "--without", "{statements}", "--by", "pmid"],
            r"no column 'pmid', by which its rows",
        ),
        (["--triples", "{triples}", "--by", "it's"], r"the input has no column \"it's\", by which"),
        (["source.path={statements}", "without.where={{colour: red}}"], r"without\.where: the input has no column"),
        (["--triples", "{triples}", "method._target_=os.system"], r"os\.system"),
        (["--triples", "{triples}", "method.dimension=${{oc.env:HOME}}"], r"."),
    ],
)
def test_one_line_each(
    tmp_path: Path, triples: str, statements: str, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"triples": triples, "folder": str(tmp_path), "statements": statements}
    before = sorted(tmp_path.iterdir())
    given = [option.format(**places) for option in options]
    output = [] if "--output" in given else ["--output", str(tmp_path / "kge.h5")]
    assert main(["kge", "train", *output, *given]) == 1
    (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert re.search(line, said)
    assert sorted(tmp_path.iterdir()) == before


def test_no_input_is_replaced(
    tmp_path: Path, triples: str, statements: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part").mkdir()
    part = tmp_path / "part" / "a.tsv"
    part.write_bytes(Path(triples).read_bytes())
    strict = ["--triples", triples, "--without", statements, "--by", "pmid", "--pairs"]
    for command, output in {(*strict,): statements, ("--triples", f"{tmp_path}/part/*.tsv"): str(part)}.items():
        before = Path(output).read_bytes()
        assert main(["kge", "train", *NETMF, *command, "--output", output, "--overwrite", "held_out=0"]) == 1
        assert f"{output}: is one of the inputs; name another output" in capsys.readouterr().err
        assert Path(output).read_bytes() == before


def test_a_header_without_a_relation_gives_one_relation_without_a_name(tmp_path: Path, triples: str) -> None:
    write_lines(tmp_path / "two.tsv", [["source", "target"], *([source, target] for source, _, target, *_ in ROWS)])
    output = ["--output", f"{tmp_path}/kge.h5", "held_out=0", "--overwrite"]
    without = [[], ["without.where={relation: is}"]]
    for options in without:
        assert main(["kge", "train", "--triples", f"{tmp_path}/two.tsv", *NETMF, *output, *options]) == 0
        graph = origin_of(tmp_path / "kge.h5")["graph"]
        assert (graph["triples"], graph["relations"], graph["left_out"]) == (60, 1, {})
    options = [*NETMF, *output, "without.where={relation: is}"]
    assert main(["kge", "train", "--triples", triples, f"{tmp_path}/two.tsv", *options]) == 0
    graph = origin_of(tmp_path / "kge.h5")["graph"]
    assert (graph["triples"], graph["relations"], graph["left_out"]) == (90, 2, {"where": 30})


def test_what_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["train", "--output", "x", "kge.h5"], ["train", "--output", "x", "--nothing"], ["info", "x", "a=b"]):
        with pytest.raises(SystemExit):
            main(["kge", *wrong])
        assert f"unrecognized arguments: {wrong[-1]}" in capsys.readouterr().err


def test_pairs_can_be_left_out_of_plain_triples(tmp_path: Path, triples: str, statements: str) -> None:
    strict = ["--without", statements, "--by", "pmid", "--pairs", "held_out=0", "--fold", "1"]
    assert main(["kge", "train", "--triples", triples, *NETMF, *strict, "--output", f"{tmp_path}/kge.h5"]) == 0
    found = origin_of(tmp_path / "kge.h5")
    division = found["without"]["division"]
    assert (division["protocol"], division["folds"], division["fold"]) == ("Grouped", 5, 1)
    assert (found["without"]["groups"], found["without"]["pairs_stated"]) == (False, 0)
    assert found["graph"]["left_out"] == {"pair": found["without"]["pairs_tested"]}
