"""Every kind of bad input to a training, with the line that the user sees; what is begun by none of them."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from conftest import NODES, file_size_limit, write_lines

from stonkgs.cli import main
from stonkgs.graph.strict import UNKNOWN
from stonkgs.model.network import GraphOnly, STonKGs
from stonkgs.train.folder import TrainFolder

HEADER = ["source", "target", "evidence", "polarity"]
Rows = list[list[str]]


def good(count: int = 60) -> Rows:
    """Rows of two classes, each of an evidence of its own."""
    labels = ("down", "up")
    return [[NODES[n % 9], NODES[n % 7], f"word{n} {labels[n % 2]}s it", labels[n % 2]] for n in range(count)]


class Case(NamedTuple):
    """What is bad, and what is said of it: `{}` is the test's folder, `@` that of models and stores."""

    overrides: Sequence[str]
    #: a pattern of the whole line
    line: str
    #: the input, where it is the input
    rows: Rows | None = None


NO_KEY = r"there is no key '{}'; did you mean {}\?"
CASES: dict[str, Case] = {
    # ------------------------------------------------------------------------------------------------------- labels
    "a value of no class": Case(
        [],
        r"task 'polarity': column 'polarity' has values of no class: 'sideways' \(1 row\); add them to task\.classes "
        r"\['down', 'up'\], task\.map or task\.ignore",
        [HEADER, *good(), [*good()[0][:3], "sideways"]],
    ),
    "no label column": Case(
        ["task.column=polarty"],
        r"task 'polarity': no column 'polarty'; there are \['polarity'\]; did you mean 'polarity'\?\. "
        r"Name yours with task\.column=",
    ),
    "a class of one example": Case(
        [],
        r"task 'polarity': class 'up' has 1 row, but a class needs 2 or more; .*, or map other .*",
        [HEADER, *(row for row in good() if row[3] == "down"), good()[1]],
    ),
    "a class without one": Case(
        [],
        r"task 'polarity': class 'up' has no row, but a class needs 2 or more; .*",
        [HEADER, *(row for row in good() if row[3] == "down")],
    ),
    "one class only": Case(
        ["task=discover", "task.name=polarity"],
        r"task 'polarity': column 'polarity' has only one value, 'down', of 2 rows or more; a task needs two .*",
        [HEADER, *(row for row in good() if row[3] == "down")],
    ),
    "no labels at all": Case(
        [],
        r"task 'polarity': no row has a class: .*task\.column right\?",
        [HEADER, *([*row[:3], ""] for row in good())],
    ),
    "no rows at all": Case([], r"task 'polarity': no row has a class: .*", [HEADER]),
    "a class called as an output column": Case(
        ["task=discover", "task.name=polarity"],
        r"class 'prediction' has the name of an output column; give it another name with task\.map",
        [HEADER, *good(), *([*row[:3], "prediction"] for row in good(9))],
    ),
    "a column called truth": Case(
        [],
        r"the input has a column 'truth', which evaluation adds; rename it",
        [[*HEADER, "truth"], *([*row, "x"] for row in good())],
    ),
    # -------------------------------------------------------------------------------------------------------- parts
    "an empty part": Case(
        ["protocol.test=0.001"],
        r"the test part has no rows of 60 \(grouped by evidence, test 0\.001, .*\): give more rows, other shares .*",
    ),
    "four rows": Case([], r"the \w+ part has no rows of 4 \(.*\): give more rows, .*", [HEADER, *good(4)]),
    "one evidence": Case(
        [],
        r"the (test|validation|train) part has no rows of 60 \(.*or another protocol\.by=",
        [HEADER, *([*row[:2], "the same", row[3]] for row in good())],
    ),
    "all in train mode": Case(["protocol=all"], r"protocol=all leaves no rows to train with; it is for mode=test"),
    "no column to group by": Case(
        ["protocol.by=pmid"], r"protocol\.by=pmid: the input has no such column; there are evidence and \['polarity'\]"
    ),
    "shares of more than all": Case(
        ["protocol.test=0.6", "protocol.validation=0.4"], r"protocol\.validation=0\.4 and protocol\.test=0\.6 leave .*"
    ),
    # --------------------------------------------------------------------------------------------------------- keys
    "epoch": Case(["epoch=3"], NO_KEY.format("epoch", "epochs")),
    "tsk": Case(["tsk=polarity"], NO_KEY.format("tsk", "task")),
    "learning rate": Case(["optimizer.learning_rate=1"], NO_KEY.format(r"optimizer\.learning_rate", r"optimizer\.lr")),
    "bye": Case(["protocol.bye=pmid"], NO_KEY.format(r"protocol\.bye", r"protocol\.by")),
    "a task that there is not": Case(
        ["task=polarty"],
        r"Could not find 'task/polarty' Available options in 'task': cell_line .* polarity pretraining species",
    ),
    "discover what": Case(["task=discover"], r"train needs task= \(or task\.name=, .*\) \(--help shows all keys\)"),
    "no source": Case(["source.path=???"], r"train needs source\.path= \(--help shows all keys\)"),
    # ----------------------------------------------------------------------------------------------------- settings
    "no rows a step": Case(["batch.size=0"], r"batch\.size=0: must be a whole number of 1 or more"),
    "no epochs": Case(["epochs=0"], r"epochs=0: must be a whole number of 1 or more"),
    "half an epoch": Case(["epochs=0.5"], r"epochs=0\.5: must be a whole number of 1 or more"),
    "a seed below 0": Case(["seed=-1"], r"seed=-1: must be a whole number of 0 or more"),
    "too long a warmup": Case(["warmup=2"], r"warmup=2: must be a number from 0 to 1"),
    "a monitor that there is not": Case(
        ["monitor=f1"], r"monitor=f1: must be one of macro_f1, weighted_f1, accuracy, loss"
    ),
    "weights of yes": Case(["class_weights=yes"], r"class_weights=yes: must be one of balanced, null"),
    "a sampling that there is not": Case(["sampling=x"], r"sampling=x: must be one of natural, balanced"),
    "no validations": Case(["validations=0"], r"validations=0: must be a whole number of 1 or more"),
    "no patience": Case(["patience=0"], r"patience=0: must be a whole number of 1 or more"),
    "calibrate maybe": Case(["calibrate=maybe"], r"calibrate=maybe: must be true or false"),
    "freeze maybe": Case(["freeze_backbone=maybe"], r"freeze_backbone=maybe: must be true or false"),
    "a mode that there is not": Case(["mode=eval"], r"mode=eval: must be one of train, test"),
    "several classes in balance": Case(
        ["sampling=balanced", "task.multi_label=true"],
        r"sampling=balanced: rows of several classes cannot be balanced; class_weights=balanced can",
    ),
    "TF-IDF in balance": Case(
        ["sampling=balanced", "model=tfidf"],
        r"sampling=balanced: this model learns from all rows at once; use class_weights=balanced",
    ),
    "a backbone's dropout of maybe": Case(["backbone_dropout=maybe"], r"backbone_dropout=maybe: must be true or false"),
    "an optimizer of os.system": Case(
        ["optimizer._target_=os.system"], r"_target_ os\.system: a config may build .*trust=\[os\.system\]"
    ),
    "an optimizer that is a module": Case(
        ["optimizer._target_=torch.nn.Linear"], r"_target_ torch\.nn\.Linear: a config may build .*"
    ),
    "a negative rate": Case(
        ["optimizer.lr=-1"], r"optimizer: torch\.optim\.AdamW refuses its settings: Invalid learning rate: -1"
    ),
    "a rate of words": Case(["optimizer.lr=fast"], r"optimizer: torch\.optim\.AdamW refuses its settings: .*"),
    "an optimizer without such a setting": Case(
        ["optimizer._target_=torch.optim.SGD", "+optimizer.betas=[0.9,0.99]"],
        r"optimizer: torch\.optim\.SGD refuses its settings: .*'betas'",
    ),
    # ------------------------------------------------------------------------------------------- models and stores
    "no model": Case(
        ["model.path={}/nope"], r"{}/nope: no such folder; a model is a folder with config\.json and its weights"
    ),
    "no model to take a part of": Case(["model=text_only", "model.path={}"], r"{}: no config\.json; a model is a .*"),
    "another model's store": Case(
        ["kge.path=@/other.h5"], r"@/other\.h5: vectors of dimension 8, but the model reads 16: this is another .*"
    ),
    "a store that the model was not trained with": Case(
        ["model.path=@/bound"], r"{}/kge\.h5: 119 nodes, but the model was trained with 7\. .*any_kge=true"
    ),
    "heads that do not divide": Case(
        ["model=fresh", "model.num_heads=3"], r"model\.num_heads=3: the store's vectors of 16 do not divide so"
    ),
    "a vocabulary with an entry twice": Case(
        ["model=fresh", "model.vocabulary=@/twice.txt"],
        r"@/twice\.txt: not a vocabulary: line 7 repeats the entry 'gene' of line 6; take out one of them, .*",
    ),
    "a pooler that is not there": Case(
        ["model=text_only", "model.path=@/model", "model.pooler=true"],
        r"@/model: the weights lack lm_backbone\.pooler\.dense\.bias and 1 more",
    ),
    "a dropout of all": Case(
        ["model=fresh", "model.dropout=1"], r"model\.dropout=1: must be a number from 0 to below 1"
    ),
    "to test what was pre-trained": Case(
        ["mode=test", "model.path=@/pretrained"],
        r"mode=test needs a model that was fine-tuned: give its folder as model\.path=",
    ),
    "to test a baseline": Case(
        ["mode=test", "model=graph_only", "model.path=@/model"],
        r"mode=test needs a model that was fine-tuned: model=stonkgs reads one of any architecture",
    ),
    "to test another task's model": Case(
        ["mode=test"],
        r"task 'polarity': column 'polarity' has values of no class: 'down' \(30 rows\), 'up' \(30 rows\).*",
    ),
    "to test a model of several classes": Case(
        ["mode=test", "model.path=@/several"], r"mode=test: this model needs task\.multi_label=true"
    ),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    """Models and stores that do not go with the good rows."""
    from synthetic import write_store

    folder = tmp_path_factory.mktemp("material")
    write_store(folder / "other.h5", nodes=20, dimension=8, walk_length=5)
    shutil.copytree(model_path, folder / "model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "gene", "gene", "protein"]
    (folder / "twice.txt").write_text("\n".join(words), "utf-8")
    for name, values in (("bound", {"kge_nodes": 7}), ("several", {"multi_label": True})):
        path = shutil.copytree(model_path, folder / name) / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    pretrained: Any = STonKGs.from_pretrained(model_path)
    del pretrained.classifier
    pretrained.config = type(pretrained.config)(**{**vars(pretrained.config), "labels": ()})
    pretrained.save_pretrained(folder / "pretrained")
    return folder


@pytest.fixture
def folder(tmp_path: Path, kge_path: Path) -> Path:
    """A folder of good files, but the model."""
    write_lines(tmp_path / "rows.tsv", [HEADER, *good()])
    shutil.copy(kge_path, tmp_path / "kge.h5")
    return tmp_path


@pytest.fixture
def arguments(folder: Path, model_path: Path) -> list[str]:
    """A good training's: a second or two."""
    paths = {"model.path": model_path, "kge.path": folder / "kge.h5", "source.path": folder / "rows.tsv"}
    given = [f"{key}={path}" for key, path in (paths | {"output_dir": folder / "out"}).items()]
    return ["task=polarity", *given, "epochs=1", "batch.size=16", "logger=none"]


def with_(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Arguments of which some are others, and no model's path where there is a model without one."""
    changed = {override.split("=")[0] for override in overrides}
    changed |= {"model.path"} if {"model=fresh", "model=tfidf"} & set(overrides) else set()
    return ["train", *(argument for argument in arguments if argument.split("=")[0] not in changed), *overrides]


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert main(arguments) == 1
    error = capsys.readouterr().err.removeprefix(f"beware: {UNKNOWN}\n")  # said once the rows are counted
    assert error.count("\n") == 1, error
    assert "(unexpected:" not in error
    return error.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line_and_nothing_begun(
    name: str, folder: Path, material: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    if case.rows is not None:
        write_lines(folder / "rows.tsv", case.rows)
    places = {"{}": str(folder), "@": str(material)}
    overrides, line = list(case.overrides), case.line
    for mark, path in places.items():
        overrides = [override.replace(mark, path) for override in overrides]
        line = line.replace(mark, re.escape(path))
    error = refused(with_(arguments, overrides), capsys)
    assert re.fullmatch(line, error), error
    out = folder / "out"
    assert not out.exists() or not any(out.iterdir()), list(out.iterdir())


def test_no_task(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(["train", *arguments[1:]], capsys)
    assert re.fullmatch(r"train needs task= \(or task\.name=, .*\) \(--help shows all keys\)", error), error
    assert not (folder / "out").exists()


# --------------------------------------------------------------------------------------------------- the output_dir


def test_foreign_files_are_not_touched(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("precious")
    wanted = f"{folder}/out: holds something that no training has written; choose another output_dir="
    for more in ([], ["overwrite=true"]):
        assert refused(with_(arguments, more), capsys) == wanted
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.txt"]
    (folder / "file").write_text("precious")
    assert refused(with_(arguments, [f"output_dir={folder}/file"]), capsys) == (
        f"{folder}/file: is a file; output_dir= names a folder, choose another one"
    )
    assert refused(with_(arguments, [f"output_dir={folder}/file/out"]), capsys).endswith(
        f"{folder}/file/out: cannot be made: Not a directory"
    )


@pytest.mark.parametrize(
    ("name", "inside"), [("../../x", ".._.._x"), ("/tmp/x", "_tmp_x"), ("..", "_.."), (".", "_."), ("a/b", "a_b")]
)
def test_the_default_folder_is_below_training(
    name: str,
    inside: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    given = [argument for argument in arguments if not argument.startswith("output_dir=")]
    # Refused when the rows are counted, in the folder that was made for it.
    overrides = [f"task.name='{name}'", "task.column=polarity", "protocol.test=0.001"]
    assert "the test part has no rows" in refused(["train", *given, *overrides], capsys)
    made = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*"))
    assert made == ["b", "b/c", "b/c/training", f"b/c/training/{inside}"]


def test_a_finished_training_says_so_and_another_one_is_told_apart(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    assert main(["train", *arguments]) == 0
    first = capsys.readouterr()
    assert first.err == f"beware: {UNKNOWN}\n"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(with_(arguments, ["num_workers=0", "debug=true"])) == 0, "what moves no figure does not count"
    again = capsys.readouterr().out
    assert "finished   before; nothing was done (overwrite=true starts anew)\n" in again
    for more, said in (
        (["optimizer.lr=0.001"], "optimizer.lr was 5e-05, is 0.001"),
        (["protocol.seed=1"], "protocol.seed was 0, is 1"),
        (["task.min_count=3"], "task.min_count was 2, is 3"),
    ):
        error = refused(with_(arguments, more), capsys)
        assert error == (
            f"{out}: holds a finished training of other settings: {said}. Go on with the same, choose another "
            "output_dir=, or start anew: overwrite=true"
        )
    write_lines(folder / "rows.tsv", [HEADER, *good(61)])
    assert f"{folder}/rows.tsv had " in refused(["train", *arguments], capsys)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


# ----------------------------------------------------------------------------------------------- rows that are not used


def test_rejected_and_unlabelled_rows_are_counted(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = good()
    rows[10:10] = [["too", "few"]]
    rows[30:30] = [[*rows[0][:3], ""], [*rows[0][:3], " "], [*rows[0][:3], "up|down"]]
    rows.append(["a", "b", "c", "up", "too many"])
    write_lines(folder / "rows.tsv", [HEADER, *rows])
    assert main(["train", *arguments]) == 0
    rejected = [json.loads(line) for line in (folder / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rejected] == [12, 66]
    assert rejected[0]["reason"] == "2 fields, the header has 4"
    counted = json.loads((folder / "out" / "run.json").read_text())["census"]
    assert sum(counted["rows"].values()) == 60
    assert counted["rejected"] == 2
    assert counted["unused"] == {"unlabelled": 2, "several values": 1}
    shown = capsys.readouterr().out
    assert "2 unlabelled" in shown
    assert f"2 rows: {folder}/out/rejected.jsonl" in shown


def test_nulls_are_no_label(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [dict(zip(HEADER, row, strict=True)) for row in good()]
    rows[3]["polarity"] = None
    rows[4]["polarity"] = ""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = ["source=jsonl", f"source.path={folder}/rows.jsonl", "model=tfidf"]
    assert main(with_(arguments, overrides)) == 0, capsys.readouterr().err
    counted = json.loads((folder / "out" / "run.json").read_text())["census"]
    assert counted["unused"] == {"unlabelled": 2}
    assert sum(counted["rows"].values()) == 58


def test_columns_named_like_classes(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And like what the prefix makes of them: the input's come through, and the model's find a name."""
    rows = [[*row, f"{number}", "mine"] for number, row in enumerate(good())]
    write_lines(folder / "rows.tsv", [[*HEADER, "up", "predicted_down"], *rows])
    assert main(with_(arguments, ["model=tfidf"])) == 0, capsys.readouterr().err
    table = pq.read_table(folder / "out" / "test_predictions.parquet")
    prefix = "predicted_predicted_"
    assert {f"{prefix}{name}" for name in ("up", "down", "prediction")} <= set(table.column_names)
    assert set(table["predicted_down"].to_pylist()) == {"mine"}
    for row in table.to_pylist():
        assert row["evidence"].startswith(f"word{row['up']} ")
        assert abs(row[f"{prefix}up"] + row[f"{prefix}down"] - 1) < 1e-6
    write_lines(folder / "rows.tsv", [[*HEADER, "up", "pmid"], *rows])
    assert main(with_(arguments, ["model=tfidf", "overwrite=true"])) == 0
    names = pq.read_schema(folder / "out" / "test_predictions.parquet").names
    assert {"up", "predicted_up", "predicted_down"} <= set(names)


# ------------------------------------------------------------------------------------------- what goes wrong on the way


@pytest.mark.parametrize(
    "more", [[], ["log_every=1"], ["protocol=paper"]], ids=["in one lap", "noted", "without validation"]
)
def test_a_training_that_diverges(
    more: list[str], arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(with_(arguments, ["optimizer.lr=1e30", *more]), capsys)
    said = r"(the loss is (inf|nan) at|the model gives values that are not numbers after)"
    assert re.fullmatch(rf"{said} step \d+: a smaller optimizer\.lr= or a longer warmup= may help", error), error
    assert not (folder / "out" / "_SUCCESS").exists()
    assert not (folder / "out" / "metrics.json").exists()
    assert not (folder / "out" / "model").exists()


@pytest.mark.parametrize("size", [1_000, 30_000])
def test_a_full_disk(size: int, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the record, at a checkpoint, and at what is larger: with room, the same command goes on and ends."""
    arguments = with_(arguments, ["freeze_backbone=false"])
    with file_size_limit(size):
        error = refused(arguments, capsys)
    assert re.fullmatch(rf"{folder}/out/\S+: cannot be written: File too large.*", error), error
    assert not (folder / "out" / "_SUCCESS").exists()
    assert {path.name for path in folder.rglob("*.tmp-*")} <= {"rejected.jsonl.tmp-counted"}  # a name, not a remnant
    assert main(arguments) == 0, capsys.readouterr().err
    assert TrainFolder(folder / "out").success.exists()
    assert not (folder / "out" / "checkpoints").exists()


def test_a_baselines_folder_is_told_from_a_whole_model(
    arguments: list[str], folder: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A graph-only model has no text backbone to take a part of."""
    GraphOnly.part_of(model_path).with_classes(("down", "up")).save_pretrained(folder / "graph")
    error = refused(with_(arguments, ["model=text_only", f"model.path={folder}/graph"]), capsys)
    assert re.fullmatch(rf"{folder}/graph: the weights lack lm_backbone\..*", error), error
