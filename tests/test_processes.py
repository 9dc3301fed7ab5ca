"""Several processes over one folder: Lightning's, torchrun's, SLURM's, and what each is told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from conftest import NODES, ROOT, write_lines
from omegaconf import OmegaConf

from stonkgs.cli import main
from stonkgs.engine.processes import standing, trainer_config
from stonkgs.errors import UserError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
ARRAY = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "2"}
ARRAY |= {"SLURM_ARRAY_TASK_COUNT": "5"}


@pytest.mark.parametrize(
    ("splits", "environ", "share"),
    [
        (None, {}, (0, 1)),
        (None, TORCHRUN, (0, 1)),
        ("2/7", {}, (2, 7)),
        ("2/7", TORCHRUN, (2, 7)),
        ("auto", TORCHRUN, (3, 8)),
        ("auto", ARRAY, (2, 5)),
        ("auto", ARRAY | {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, (9, 20)),
        ("auto", {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, (1, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3"}, (0, 3)),  # --array=1,5,9
    ],
)
def test_a_process_knows_its_share(splits: str | None, environ: Mapping[str, str], share: tuple[int, int]) -> None:
    stands = standing(splits, environ)
    assert (stands.index, stands.of) == share
    assert stands.together == (share[1] > 1 or "RANK" in environ)


@pytest.mark.parametrize("splits", ["2/2", "1", "a/b", "-1/2", "1/2/3", "0/0", "auto", ""])
def test_what_is_no_share(splits: str) -> None:
    with pytest.raises(UserError, match=rf"splits={splits}: "):
        standing(splits, {"SLURM_JOB_ID": "77"})


def test_who_has_started_it() -> None:
    assert standing(None, {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}).child
    assert not standing(None, {"LOCAL_RANK": "0", "WORLD_SIZE": "2"}).child
    assert not standing(None, TORCHRUN).child
    assert standing(None, TORCHRUN).local == 2


def test_torchrun_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    given = OmegaConf.create({"devices": 1})
    assert trainer_config(given, None, standing(None)) == {"devices": 2, "num_nodes": 4}
    alone = trainer_config(given, "auto", standing("auto"))
    assert alone.devices == 1
    assert alone.plugins[0]._target_.endswith("LightningEnvironment"), "no process group with splits="


@pytest.mark.parametrize(("tasks", "plugins"), [("1", 1), ("4", 0)])
def test_in_a_slurm_job_of_one_task_lightning_starts_the_others(
    tasks: str, plugins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", tasks)
    config = trainer_config(OmegaConf.create({"devices": 4}), None, standing(None))
    assert len(config.get("plugins") or []) == plugins


@pytest.mark.parametrize("more", [["splits=0/2"], ["trainer.devices=1", "splits=1/9"]])
def test_one_of_several_does_not_start_anew(
    small_run: list[str], tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *small_run, *more, "overwrite=true"]) == 1
    assert "this is one process of several" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sweep_has_one_device(
    small_run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where hydra leaves its multirun.yaml
    more = ["batch.size=1,2", "trainer.devices=2", "trainer.accelerator=cpu"]
    assert main(["predict", "--multirun", *small_run, *more]) == 1
    assert "--multirun runs each job on one device" in capsys.readouterr().err


@pytest.fixture
def whole(tmp_path: Path, small_run: list[str]) -> list[str]:
    """Arguments for 400 rows in 45 splits, and what one process makes of them in tmp_path / "one"."""
    rows = [[str(n), NODES[n % 7], NODES[n % 11], "HIF1A " * (n % 6)] for n in range(400)]
    write_lines(tmp_path / "rows.tsv", [["id", "source", "target", "evidence"], *rows, ["bad"]])
    arguments = [*small_run, "threads=1", "split.rows=9", "batch.size=4", "trainer.accelerator=cpu"]
    assert main(["predict", *arguments, f"output_dir={tmp_path / 'one'}"]) == 0
    return arguments


def check(folder: Path, done: "subprocess.CompletedProcess[str]") -> None:
    """The same files as one process has made, and one summary."""
    assert done.returncode == 0, done.stderr
    for name in ("predictions.tsv", "rejected.jsonl"):
        assert (folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes()
    assert len(list((folder / "out").iterdir())) == 4
    assert [line.split()[0] for line in done.stdout.splitlines()].count("predicted") == 1
    assert "Traceback" not in done.stderr


def shell(command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "more"),
    [
        (["predict.py"], ["num_workers=1", "start_method=forkserver"]),
        (["-m", "stonkgs", "predict"], ["num_workers=1", "start_method=fork", "overwrite=true"]),
        ([str(Path(sys.executable).parent / "stonkgs"), "predict"], []),
    ],
)
def test_two_devices(whole: list[str], tmp_path: Path, program: list[str], more: list[str]) -> None:
    check(tmp_path, shell([sys.executable, *program, *whole, "trainer.devices=2", *more]))


@pytest.mark.process
@pytest.mark.parametrize("splits", ["null", "auto"])
def test_torchrun(whole: list[str], tmp_path: Path, splits: str) -> None:
    """In one process group, or each by itself."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29511"]
    done = shell([*torchrun, "-m", "stonkgs", "predict", *whole, f"splits={splits}"])
    if splits == "auto":
        done.stdout = "".join(done.stdout.splitlines(keepends=True)[:7])  # each tells
    check(tmp_path, done)


def at_work(arguments: list[str], folder: Path, rows: int) -> tuple["subprocess.Popen[str]", psutil.Process, Path]:
    """A command over two devices in the middle of so many rows: its process, that of the second device, the parts."""
    lines = [[str(n), NODES[n % 7], NODES[n % 11], "HIF1A " * (n % 6)] for n in range(rows)]
    write_lines(folder / "rows.tsv", [["id", "source", "target", "evidence"], *lines])
    command = [sys.executable, "predict.py", *arguments, "trainer.devices=2", "split.rows=20"]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (parts,) = appear(folder / "out", "parts-*", 1)
    appear(parts, "0*.tsv", 20)
    (child,) = psutil.Process(started.pid).children()
    return started, child, parts


@pytest.mark.process
def test_a_device_that_dies(whole: list[str], tmp_path: Path) -> None:
    """The other does its share, and says so."""
    started, child, _ = at_work(whole, tmp_path, 6_000)
    child.kill()
    out, error = started.communicate(timeout=300)
    assert started.returncode == 0, error
    assert "1 of 2 processes failed; the others did their share" in error
    assert "rows read         6,000" in out
    assert json.loads((tmp_path / "out" / "run.json").read_text())["result"]["predicted"] == 6_000


@pytest.mark.process
def test_a_signal_ends_both_devices(whole: list[str], tmp_path: Path) -> None:
    started, child, parts = at_work(whole, tmp_path, 100_000)
    started.send_signal(signal.SIGTERM)
    _, error = started.communicate(timeout=120)
    assert started.returncode == 128 + signal.SIGTERM
    assert error.count("\n") == 1, error
    assert "splits are done and kept; the same command continues" in error
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert not list(parts.glob("*.tmp-*"))


def appear(folder: Path, pattern: str, count: int) -> list[Path]:
    """The files of a pattern, when there are so many."""
    deadline = time.monotonic() + 120
    while len(found := sorted(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
