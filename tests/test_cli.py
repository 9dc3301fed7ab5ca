"""The command line: what it says at once, what it refuses, and in how many words."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from stonkgs.cli import main, one_line
from stonkgs.cli.command import guarded
from stonkgs.cli.overrides import quote_paths
from stonkgs.errors import UserError


def test_with_some_of_what_it_needs_it_says_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "source.path=x"]) == 1
    assert capsys.readouterr().err == "error: predict needs kge.path= model.path= (--help shows all keys)\n"


@pytest.mark.parametrize("given", [[], ["source.limit=5", "writer=jsonl"], ["kge.match=exact"], ["threads=1"]])
def test_without_any_of_it_the_example_is_taken(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--cfg", "job", *given]) == 0
    shown = capsys.readouterr().out
    assert all(f"path: ${{shipped:example/{name}}}" in shown for name in ("statements.tsv", "kge.h5", "model"))


def test_each_job_of_a_sweep_takes_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "-m", "source.limit=1,2", "output_dir=out"]) == 0, capsys.readouterr().err
    assert [len((tmp_path / f"out/{job}/predictions.tsv").read_text().splitlines()) for job in (0, 1)] == [2, 3]


@pytest.mark.parametrize(
    "given",
    [
        ["source.path=x"],
        ["source=jsonl"],
        ["model=example"],
        ["kge.path=x"],
        ["--config-dir", "."],
        ["--config-dir", ".", "--config-name", "mine"],
        ["hydra.searchpath=[file://.]", "+job=nightly"],
        ["source._target_=my.Database"],
    ],
)
def test_the_example_never_stands_in_for_a_part(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("defaults: [predict, _self_]\n")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "nightly.yaml").write_text("x: 1\n")
    assert main(["predict", *given]) == 1
    assert capsys.readouterr().err.startswith("error: predict needs ")


def test_help_shows_what_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert capsys.readouterr().out.count("path: ???") == 3


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "--help"],
        ["predict", "--cfg", "job"],
        ["--help"],
        ["kge", "--help"],
        ["model", "--help"],
        ["--version"],
    ],
)
def test_answers_at_once(command: list[str]) -> None:
    """No torch, Lightning, transformers or pyarrow on the way to an answer."""
    code = (
        "import sys, contextlib\nfrom stonkgs.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({command!r})\n"
        "heavy = {'torch', 'pytorch_lightning', 'transformers', 'pyarrow', 'h5py', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "stonkgs" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modle.path=x"], "there is no key 'modle.path'; did you mean model.path?"),
        (["writer=csv"], "Could not find 'writer/csv'"),
        (["source.path=x", "batch.size="], "batch.size=: must be a whole number of 1 or more"),
        (["source.path=x", "num_workers=-1"], "num_workers=-1: must be a whole number of 0 or more"),
        (["source.path=x", "on_error=ignore"], "on_error=ignore: must be one of reject, raise"),
        (["source.path=x", "batch.size=true"], "batch.size=True: must be a whole number"),
        (["source.path=x", "overwrite=no"], "overwrite=no: must be true or false"),
        (["source.path=x", "any_kge=flase"], "any_kge=flase: must be true or false"),
        (["source.path=x", "start_method=bogus"], "start_method=bogus: must be one of fork"),
        (["source.path=x", "trust=os.system"], "trust=os.system: must be a list, [os.system]"),
        (["source.path=x", "kge.match=fuzzy"], "kge.match=fuzzy: "),
        (["source.path=x", "model.path=nope"], "nope: no such folder; a model is a folder"),
        (["source.path=x", "model.labels=[a]"], "model.labels names 1 classes"),
        (["source.path=x", "trainer.accelerator=xyz"], "pytorch_lightning.Trainer: "),
        (["source.path=x", "model.calibrated=no"], "model.calibrated=no: must be true or false"),
        (["source.path=x", "source.quoting=both"], "source.quoting=both: must be one of csv, none"),
        (["source.path=x", "writer.columns=id"], "writer.columns=id: must be a list of texts, such as [a,b]"),
        (["source.path=x", "writer.prefix=1"], "writer.prefix=1: must be a text"),
        (["source.path=x", "source.max_record=abc"], "source.max_record=abc: must be a whole number of 1 or more"),
        (["source.path=y", "model.path=nope"], "y: no such file"),
        (["a b"], "a b"),
    ],
)
def test_a_misspelt_override_is_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_path: Path,
    kge_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("source\ttarget\tevidence\n")
    assert main(["predict", f"model.path={model_path}", f"kge.path={kge_path}", *arguments]) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert message in error


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predcit"]) == 2
    assert "there are predict, embed, train, status, aggregate, kge, model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "target", ["os.system", "torch.hub.load", "torch.utils.cpp_extension.load_inline", "no.such.thing", "builtins.eval"]
)
def test_a_config_cannot_name_any_code(
    target: str, tmp_path: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *small_run, f"writer._target_={target}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: _target_ {target}: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["a,b.tsv", "O'Brien.tsv", "with space.tsv", "k=v.tsv", "back\\slash.tsv", "x\\'.tsv", "{}.tsv", "[1].tsv"]
)
def test_any_file_name_works(
    name: str, tmp_path: Path, small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text("source\ttarget\tevidence\nNA\tNA\tx\n")
    assert main(["predict", *small_run, f"source.path={path}"]) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("...tsv", "_.."),
        ("..tsv", "_."),
        (".tsv", "_"),
        (".tsv.gz", "_"),
        ("....jsonl", "_..."),
        ("rows.x.tsv", "rows.x"),
    ],
)
def test_the_default_folder_is_below_predictions(
    name: str,
    folder: str,
    tmp_path: Path,
    small_run: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "rows.tsv").rename(tmp_path / name)
    assert main(["predict", *small_run[:2], f"source.path={tmp_path / name}"]) == 0, capsys.readouterr().err
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["predictions"]
    assert [path.name for path in (tmp_path / "here" / "predictions").iterdir()] == [folder]
    assert (tmp_path / "here" / "predictions" / folder / "_SUCCESS").exists()


def test_a_sweep_of_a_config_of_another_name(
    tmp_path: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("defaults: [predict, _self_]\n")
    own = ["--config-dir", ".", "--config-name", "mine"]
    assert main(["predict", *own, "--multirun", "batch.size=1,2", *small_run[:3]]) == 0, capsys.readouterr().err
    assert all((tmp_path / "predictions" / str(job) / "_SUCCESS").exists() for job in (0, 1))


def test_a_sweep_gives_each_job_a_folder(
    tmp_path: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--multirun", "batch.size=1,2", *small_run]) == 0, capsys.readouterr().err
    assert all((tmp_path / "out" / str(job) / "_SUCCESS").exists() for job in (0, 1))


def test_quoting_leaves_lists_null_and_sweeps_alone() -> None:
    given = ["source.path=[a.tsv,b.tsv]", "output_dir=null", "batch.size=3", "source.path='x'"]
    assert quote_paths(given) == given
    assert quote_paths(["-m", "model.path=a,b"]) == ["-m", "model.path=a,b"]
    assert quote_paths(["model.path=~/x"]) == [f"model.path='{Path.home()}/x'"]


def test_an_error_of_a_worker_is_one_line_too() -> None:
    wrapped = UserError(
        "Caught UserError in DataLoader worker process 0.\nOriginal Traceback:\nstonkgs.errors.UserError: no"
    )
    assert one_line(wrapped) == "no"


def test_unexpected_errors_say_how_to_see_more() -> None:
    assert one_line(ValueError("a\nb")) == "ValueError: a b (unexpected: debug=true shows where)"


def test_a_panic_of_a_library_in_rust_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    splitting = Split(Regex(r"(x+x+)+y"), "isolated")

    def panic() -> int:
        splitting.pre_tokenize_str("x" * 50)
        return 0

    with pytest.raises(BaseException, match="Regex search error") as caught:
        panic()
    assert not isinstance(caught.value, Exception), "else this test shows nothing"
    assert guarded(panic, debug=False) == 1
    assert re.fullmatch(r"error: PanicException: .* \(unexpected: debug=true shows where\)\n", capsys.readouterr().err)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "debug=true", "source.path=x"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 0), (signal.SIGINT, 2)])
def test_a_signal_ends_in_one_line(number: signal.Signals, workers: int, tmp_path: Path, small_run: list[str]) -> None:
    with open(tmp_path / "rows.tsv", "w") as file:
        file.write("source\ttarget\tevidence\n" + "NA\tNA\tsome evidence\n" * 300_000)
    more = ["threads=1", f"num_workers={workers}", "start_method=fork", "batch.size=1", "split.rows=50"]
    run = forks.Command(["predict", *small_run, *more], tmp_path / "log")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not run.ended() and len(list(tmp_path.glob("out/parts-*/0*.tsv"))) < 3:
        time.sleep(0.05)
    os.kill(run.number, number)
    status, _, error = run.wait()
    assert status == 128 + number
    told = r"\d+ of [\d,]+ splits are done and kept; the same command continues"
    assert re.fullmatch(rf"interrupted by {number.name}: {told}\n", error)
    assert not list(tmp_path.glob("out/parts-*/*.tmp-*")), "what was open is dropped"
    assert not list((tmp_path / "out").glob("predictions.*"))


def test_the_record_of_a_run(tmp_path: Path, small_run: list[str]) -> None:
    assert main(["predict", *small_run]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [record["result"][key] for key in ("read", "predicted", "rejected")] == [3, 3, 0]
    assert record["config"]["batch"]["size"] == 32
    assert {"torch", "stonkgs"} <= record["versions"].keys()
    assert len(record["kge"]["digest"]) == len(record["model"]["digest"]) == 64
    assert record["input"][0]["size"] == (tmp_path / "rows.tsv").stat().st_size


def test_what_a_model_says_does_not_drive_the_terminal(
    small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # Not as JSON, whose escapes hydra would leave as they are.
    assert main(["predict", *small_run, "model.labels=['\x1b]0;x\x07','b\npredicted  999']"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert [line.split()[0] for line in printed.splitlines()].count("predicted") == 1


def test_a_key_of_another_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "source=csv", "source.path=x", "source.quoting=none"]) == 1
    assert "no key 'source.quoting' beside the other choices made here" in capsys.readouterr().err
