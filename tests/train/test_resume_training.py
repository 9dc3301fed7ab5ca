"""Trainings that are killed, stopped, and shared by processes come to what an undisturbed one comes to."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import deaths
import pyarrow.parquet as pq
import pytest
import torch
from conftest import NODES, ROOT, write_lines
from safetensors.torch import load_file
from trainings import die_before, die_writing, in_fork, steps, train, write_plain

from stonkgs.train.module import FineTuning
from stonkgs.train.stream import Step

#: Of each row one in three is of each class, by a word of its text; the numbers are such that no batch is full.
ROWS = 211


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSV whose label follows from its text, mostly."""
    draw = random.Random(0)
    rows = [["source", "target", "evidence", "effect"]]
    for number in range(ROWS):
        label = draw.choice(["up", "down", "none"])
        text = (
            f"{draw.choice('abcdefgh')} {label if draw.random() < 0.9 else 'none'} {number} {'x ' * draw.randrange(9)}"
        )
        rows.append([draw.choice(NODES), draw.choice(NODES), text, label])
    return write_lines(tmp_path_factory.mktemp("labelled") / "labelled.tsv", rows)


@pytest.fixture(scope="module")
def command(labelled: Path, model_path: Path, kge_path: Path) -> list[str]:
    """Arguments of `train` but its folder: dropout, several splits, a shuffle buffer that does not hold all."""
    return [
        *("task=discover", "task.name=effect", f"source.path={labelled}", f"kge.path={kge_path}"),
        *(f"model.path={model_path}", "epochs=4", "batch.size=12", "batch.buffer=50", "split.rows=40"),
        *("log_every=1", "checkpoint_every=3", "validations=2", "optimizer.lr=1e-3", "threads=1", "patience=null"),
        *("logger=none", "trainer.accelerator=cpu"),
    ]


def assert_same(one: Path, other: Path) -> None:
    """The same losses at every step, the same scores, weights and predictions."""
    assert steps(one) == steps(other)
    assert (one / "test_predictions.parquet").exists()
    assert pq.read_table(one / "test_predictions.parquet").equals(pq.read_table(other / "test_predictions.parquet"))
    weights, others = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
    scores = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert scores[0] == scores[1]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed training leaves."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    assert in_fork(command, folder, lambda: None) == 0
    found = steps(folder)
    trained = [float(row["train_loss"]) for row in found if row["train_loss"]]
    assert len(trained) == 4 * 12  # 142 rows of 211 train, 12 a step at most
    assert trained[-1] < trained[0]
    assert sum(bool(row["macro_f1"]) for row in found) == 4 * 2
    return folder


def test_killed_and_gone_on_with(command: list[str], undisturbed: Path, tmp_path: Path) -> None:
    draw = random.Random(3)
    killed = tmp_path / "killed"
    for step in sorted(draw.sample(range(48), 5)):
        assert in_fork(command, killed, die_before(step)) == -signal.SIGKILL
        assert not (killed / "_SUCCESS").exists()
    assert in_fork(command, killed, lambda: None) == 0
    assert_same(killed, undisturbed)


#: What a training does before it is through; what the ratings do is what predicting does, and has its own tests.
ON_THE_WAY = r"^(?!remove)\w+ (training\.json|rejected\.jsonl|checkpoints|history\.csv)"


def killed_again_and_again(command: list[str], folder: Path, places: str) -> set[str]:
    """The same command until it does nothing new; each attempt dies at an operation at which none has died yet."""
    died = deaths.Deaths(folder / "killed", folder / "deaths", places=places)
    attempts = 0
    while status := in_fork(command, folder / "killed", died):
        attempts += 1
        assert status == -signal.SIGKILL
        assert len(died.all()) == attempts, "each death is at a place of its own"
    return {place for _, place in died.all()}


@pytest.fixture
def short(command: list[str], tmp_path: Path) -> list[str]:
    """A few steps, four checkpoints, and in `tmp_path / "whole"` what an undisturbed training leaves."""
    fewer = [*command, "epochs=2", "batch.size=48", "checkpoint_every=2", "validations=1"]
    assert in_fork(fewer, tmp_path / "whole", lambda: None) == 0
    return fewer


def test_killed_before_and_after_every_file_operation(short: list[str], tmp_path: Path) -> None:
    """And with half of each write done."""
    places = killed_again_and_again(short, tmp_path, ON_THE_WAY)
    for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt", "history.csv", "training.json"):
        assert {f"{operation} {name}.tmp" for operation in ("open", "write", "fsync", "rename")} <= places
    assert {"mkdir checkpoints", "rename rejected.jsonl.tmp.tmp"} <= places
    assert_same(tmp_path / "killed", tmp_path / "whole")
    # None of these has come by the file that says that nothing is left to learn: the last checkpoint says so, too.
    ended = tmp_path / "ended"
    assert in_fork(short, ended, deaths.die_before_the(ended, "mkdir rated")) == -signal.SIGKILL
    assert (ended / "checkpoints" / "ended").exists()
    assert in_fork(short, ended, lambda: None) == 0
    assert_same(ended, tmp_path / "whole")


def test_killed_where_it_removes_its_ratings(short: list[str], tmp_path: Path) -> None:
    """What is left of a rating is no finished run that has lost its predictions."""
    killed, gone = tmp_path / "killed", "rated-gone-rated"
    for place in ("rename rated", f"remove {gone}/run.json", f"rmdir {gone}"):
        assert in_fork(short, killed, deaths.die_before_the(killed, place)) == -signal.SIGKILL
    assert in_fork(short, killed, lambda: None) == 0
    assert_same(killed, tmp_path / "whole")
    assert not list(killed.glob("rated*"))


@pytest.mark.deep
def test_killed_also_where_it_rates_and_ends(short: list[str], tmp_path: Path) -> None:
    places = killed_again_and_again(short, tmp_path, "")
    assert {"rename model.tmp", "rename run.json.tmp", "rename _SUCCESS.tmp", "remove checkpoints/last.ckpt"} <= places
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("number", [3, *(pytest.param(number, marks=pytest.mark.deep) for number in (1, 4, 16))])
def test_killed_beside_a_checkpoint(number: int, command: list[str], undisturbed: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    assert in_fork(command, killed, die_writing(number)) == -signal.SIGKILL
    assert in_fork(command, killed, lambda: None) == 0
    assert_same(killed, undisturbed)


def test_accumulated_gradients_are_in_no_checkpoint(command: list[str], tmp_path: Path) -> None:
    more = [*command, "trainer.accumulate_grad_batches=4", "checkpoint_every=1"]
    assert in_fork(more, tmp_path / "whole", lambda: None) == 0
    for step in (6, 19, 33):
        assert in_fork(more, tmp_path / "killed", die_before(step)) == -signal.SIGKILL
    assert in_fork(more, tmp_path / "killed", lambda: None) == 0
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_stopped_early_stays_stopped(command: list[str], tmp_path: Path) -> None:
    """Killed after it has stopped early, and before anything is told of it: it does not train on."""
    more = [*command, "patience=1", "optimizer.lr=0.0", "epochs=6"]
    assert in_fork(more, tmp_path / "whole", lambda: None) == 0
    told = steps(tmp_path / "whole")
    assert sum(bool(row["macro_f1"]) for row in told) == 2  # nothing gets better, where nothing is learned

    def die_rating() -> None:
        import stonkgs.train.run as module

        module.figures = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[attr-defined, assignment]

    assert in_fork(more, tmp_path / "killed", die_rating) == -signal.SIGKILL
    assert in_fork(more, tmp_path / "killed", lambda: None) == 0
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_workers_change_nothing(command: list[str], undisturbed: Path, tmp_path: Path) -> None:
    assert in_fork([*command, "num_workers=2", "start_method=fork"], tmp_path / "workers", lambda: None) == 0
    assert_same(tmp_path / "workers", undisturbed)


def test_ctrl_c_keeps_what_is_done(
    command: list[str],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = FineTuning.training_step

    def interrupted(self: FineTuning, given: Step, number: int) -> torch.Tensor:
        if given.number == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(self, given, number)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "training_step", interrupted)
        assert train([*command, "checkpoint_every=1000"], tmp_path / "stopped") == 128 + signal.SIGINT
    assert "interrupted by SIGINT: the same command continues from the last checkpoint" in capsys.readouterr().err
    kept = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["stonkgs"]["done"] == 9
    assert train([*command, "checkpoint_every=1000"], tmp_path / "stopped") == 0
    assert_same(tmp_path / "stopped", undisturbed)


@pytest.mark.process
def test_a_whole_process_is_killed(command: list[str], undisturbed: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, ROOT / "train.py", *command, f"output_dir={tmp_path / 'killed'}"], stdout=subprocess.DEVNULL
    )
    last, until = tmp_path / "killed" / "checkpoints" / "last.ckpt", time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert last.exists()
    assert in_fork(command, tmp_path / "killed", lambda: None) == 0
    assert_same(tmp_path / "killed", undisturbed)


@pytest.mark.process
def test_two_processes_on_an_uneven_input(command: list[str], tmp_path: Path) -> None:
    """All make the same steps, every row is rated once, and the losses are those of one process with twice the rows.

    Without dropout, which is drawn by each process for itself.
    """
    model = tmp_path / "model"
    write_plain(Path(next(word for word in command if word.startswith("model.path=")).partition("=")[2]), model)
    one = [*(word for word in command if not word.startswith("model.path=")), f"model.path={model}"]
    two = [*one, "trainer.devices=2"]
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *two, f"output_dir={tmp_path / 'two'}"],
        timeout=240,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert train([*one, "batch.size=24"], tmp_path / "one") == 0
    found, expected = steps(tmp_path / "two"), steps(tmp_path / "one")
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for name in ("train_loss", "loss", "macro_f1", "accuracy"):
        values, wanted = ([float(row[name]) for row in rows if row[name]] for rows in (found, expected))
        assert values == pytest.approx(wanted, abs=2e-3), name
    tables = [pq.read_table(tmp_path / name / "test_predictions.parquet") for name in ("two", "one")]
    assert tables[0]["evidence"].equals(tables[1]["evidence"])
    assert done.stdout.count("protocol ") == 1
