"""Several processes over one folder: who has which share and device, who is ended when, and what each is told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import forks
import psutil
import pytest
import torch
from conftest import NODES, ROOT, write_lines
from omegaconf import OmegaConf

from stonkgs.cli import main
from stonkgs.engine import children as processes
from stonkgs.engine.children import Children, children, orders
from stonkgs.engine.devices import devices_of, single
from stonkgs.engine.interrupt import Interrupted, signals
from stonkgs.engine.share import Share, share_of
from stonkgs.errors import UserError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
ARRAY = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "2"}
ARRAY |= {"SLURM_ARRAY_TASK_COUNT": "5"}
TASK = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
#: A batch script runs once, with these; srun starts a task each, and says of how many.
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
SRUN = BATCH | {"SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize(
    ("splits", "environ", "share", "launched"),
    [
        (None, {}, (0, 1), False),
        (None, TORCHRUN, (3, 8), True),
        (None, TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}, (0, 1), False),
        (None, TASK, (1, 4), True),
        (None, BATCH, (0, 1), False),
        (None, SRUN, (0, 4), True),
        (None, ARRAY, (0, 1), False),
        ("2/7", {}, (2, 7), False),
        ("2/7", TORCHRUN, (2, 7), False),
        ("auto", TORCHRUN, (3, 8), False),
        ("auto", ARRAY, (2, 5), False),
        ("auto", ARRAY | TASK, (9, 20), False),
        ("auto", TASK, (1, 4), False),
        ("auto", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3"}, (0, 3), False),  # --array=1,5,9
    ],
)
def test_a_process_knows_its_share(
    splits: str | None, environ: Mapping[str, str], share: tuple[int, int], launched: bool
) -> None:
    found = share_of(splits, environ)
    assert (found.index, found.of, found.launched) == (*share, launched)
    assert found.prints_summary == (not launched or share[0] == 0)


@pytest.mark.parametrize("splits", ["2/2", "1", "a/b", "-1/2", "1/2/3", "0/0", "auto", ""])
def test_what_is_no_share(splits: str) -> None:
    with pytest.raises(UserError, match=rf"splits={splits}: "):
        share_of(splits, {"SLURM_JOB_ID": "77"})


@pytest.mark.parametrize("given", [Share(), Share(1, 3), share_of("auto", TORCHRUN)])
def test_a_share_is_divided_by_the_devices(given: Share) -> None:
    """All shares of all commands are different, and one process of a command tells."""
    commands = [Share(number, given.of, given.local_index, given.local) for number in range(given.of)]
    parts = [command.subshare(number, 4) for command in commands for number in range(4)]
    assert [part.index for part in parts] == list(range(4 * given.of))
    assert {(part.of, part.local) for part in parts} == {(4 * given.of, 4 * given.local)}
    assert len({part.local_index for part in parts}) == 4
    assert [part.prints_summary for part in parts] == [True, False, False, False] * given.of


@pytest.mark.parametrize(
    ("given", "share", "devices"),
    [
        ({}, Share(), [1]),
        ({"devices": 3}, Share(), [1, 1, 1]),
        ({"devices": "auto"}, Share(), [1]),
        ({"devices": 2}, Share(1, 2), [1, 1]),
        ({"devices": 2}, Share(1, 2, launched=True), [1]),
        ({"devices": 2, "num_nodes": 4}, Share(5, 8, launched=True), [1]),
    ],
)
def test_a_process_a_device(
    given: dict[str, Any], share: Share, devices: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")  # a launcher's, of more processes than there are devices
    assert devices_of(OmegaConf.create({"accelerator": "cpu", **given}), share) == devices


@pytest.mark.parametrize(("local_index", "device"), [(0, [0]), (2, [2]), (5, [1])])
def test_each_process_of_a_machine_takes_another_gpu(
    local_index: int, device: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    config = OmegaConf.create({"accelerator": "auto", "devices": 1})
    assert devices_of(config, Share(local_index, 8, local_index, 8)) == [device]
    config.accelerator = "cpu"
    assert devices_of(config, Share(local_index, 8, local_index, 8)) == [1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 0}, r"trainer\.devices=0: "),
        ({"devices": "many"}, r"trainer\.devices=many: .*should be an int"),
        ({"num_nodes": 2}, r"num_nodes=2: start a command on each machine, .*splits=i/n"),
        ({"strategy": "fsdp"}, "strategy=fsdp: .*leave it at auto"),
        ({"strategy": {"_target_": "pytorch_lightning.strategies.DeepSpeedStrategy"}}, "strategy=DeepSpeedStrategy: "),
    ],
)
def test_what_a_prediction_cannot_run_on(given: dict[str, Any], message: str) -> None:
    config = OmegaConf.create({"accelerator": "cpu", **given})
    with pytest.raises(UserError, match=message):
        single(config, devices_of(config, Share())[0])


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true", None])
def test_a_single_process_asks_nobody_who_it_is(strategy: str | None) -> None:
    """Neither torchrun nor SLURM, and there is no process group."""
    config = single(OmegaConf.create({"devices": 4, "strategy": strategy, "precision": "bf16-mixed"}), [2])
    assert (config.devices, config.strategy, config.num_nodes) == ([2], "auto", 1)
    assert config.precision == "bf16-mixed"
    assert [plugin._target_.rpartition(".")[2] for plugin in config.plugins] == ["LightningEnvironment"]


def test_the_strategy_of_a_single_device_is_heeded() -> None:
    strategy = {"_target_": "pytorch_lightning.strategies.SingleDeviceStrategy", "device": "cpu"}
    assert single(OmegaConf.create({"strategy": strategy}), 1).strategy == strategy


def test_what_the_others_are_told() -> None:
    cfg = OmegaConf.create(
        {"overwrite": True, "trainer": {"devices": 3}, "splits": "1/2", "path": "${trainer.devices}"}
    )
    told = orders("embed", cfg, Share(1, 2), [[0], [4], [7]])
    assert [order["config"]["trainer"]["devices"] for order in told] == [[4], [7]]
    assert [(order["share"]["index"], order["share"]["of"]) for order in told] == [(4, 6), (5, 6)]
    assert all(order["share"]["launched"] and order["command"] == "embed" for order in told)
    assert {(order["config"]["overwrite"], order["config"]["path"]) for order in told} == {(False, 3)}


def stub(code: str) -> tuple[str, ...]:
    """A process that runs some Python."""
    return sys.executable, "-c", code


#: It says that it is there, and sleeps.
SLEEPS = "import json, sys, time; open(json.load(sys.stdin)['file'], 'w').write('here'); time.sleep(60)"


def sleeper(folder: Path, started: Children, before: str = "") -> "subprocess.Popen[bytes]":
    """A process that has come as far as to sleep."""
    file = folder / f"{len(started.processes)}.txt"
    started.start(stub(before + SLEEPS), {"file": str(file)})
    appear(file.parent, file.name, 1)
    return started.processes[-1]


def test_an_order_arrives_and_modules_are_found(tmp_path: Path) -> None:
    code = "import json, sys, labelled; json.dump(json.load(sys.stdin), open(sys.argv[1], 'w'))"
    told = {"config": {"text": "β" * 100_000}, "file": tmp_path}
    with children((*stub(code), str(tmp_path / "told.json")), [told]) as started:
        assert started.processes[0].wait(60) == 0
    assert json.loads((tmp_path / "told.json").read_text()) == told | {"file": str(tmp_path)}


def test_those_that_fail_are_counted(tmp_path: Path) -> None:
    """One that dies before it has read its order, or is killed, too; one that is ended by us has not failed."""
    with children(stub("import sys; sys.exit(json)"), [{"text": "x" * 1_000_000}]) as started:
        started.start(stub("import sys; sys.stdin.read()"), {})
        killed, _ = sleeper(tmp_path, started), sleeper(tmp_path, started)
        killed.kill()
        for process in started.processes[:3]:
            process.wait(60)
        assert started.failed() == 2
    assert [process.poll() for process in started.processes] == [1, 0, -signal.SIGKILL, -signal.SIGTERM]


def failing(folder: Path, started: Children, error: BaseException, before: str = "") -> None:
    """Something goes wrong here while two others are at work."""
    with children((), []) as others:
        started.processes = others.processes
        sleeper(folder, others, before)
        sleeper(folder, others, before)
        raise error


def test_all_are_ended_where_this_one_fails(tmp_path: Path) -> None:
    started = Children()
    with pytest.raises(UserError):
        failing(tmp_path, started, UserError("full"))
    assert [process.returncode for process in started.processes] == [-signal.SIGTERM] * 2


def test_the_terminals_interrupt_is_left_to_the_first(tmp_path: Path) -> None:
    with children((), []) as started:
        process = sleeper(tmp_path, started)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)


DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def test_who_does_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.1)
    with children((), []) as started:
        sleeper(tmp_path, started, DEAF)
    assert started.processes[0].returncode == -signal.SIGKILL


def test_a_second_signal_kills(tmp_path: Path) -> None:
    """The first has ended this process's own work; the second comes while it waits for the others."""
    started, begun = Children(), time.monotonic()
    second = subprocess.Popen(["bash", "-c", f"sleep 3; kill -TERM {os.getpid()}"])
    with signals(), pytest.raises(Interrupted) as caught:
        failing(tmp_path, started, Interrupted(signal.SIGINT), DEAF)
    assert second.wait() == 0
    assert caught.value.signum == signal.SIGINT
    assert [process.returncode for process in started.processes] == [-signal.SIGKILL] * 2
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("more", [["splits=0/2"], ["trainer.devices=1", "splits=1/9"]])
def test_one_of_several_does_not_start_anew(
    small_run: list[str], tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *small_run, *more, "overwrite=true"]) == 1
    assert "this is one process of several" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tasks_of_srun_share_the_work(
    small_run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of them tells; here the other one comes earlier, and has done all."""
    for name, value in (TASK | {"SLURM_NTASKS": "2"}).items():
        monkeypatch.setenv(name, value)
    assert main(["predict", *small_run]) == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert main(["predict", *small_run]) == 0
    assert ["rows", "read", "3"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.fixture
def whole(tmp_path: Path, small_run: list[str]) -> list[str]:
    """Arguments for 400 rows in 45 splits, and what one process makes of them in tmp_path / "one"."""
    rows = [[str(n), NODES[n % 7], NODES[n % 11], "HIF1A " * (n % 6)] for n in range(400)]
    write_lines(tmp_path / "rows.tsv", [["id", "source", "target", "evidence"], *rows, ["bad"]])
    arguments = [*small_run, "threads=1", "split.rows=9", "batch.size=4", "trainer.accelerator=cpu"]
    assert main(["predict", *arguments, f"output_dir={tmp_path / 'one'}"]) == 0
    return arguments


def paced(then: str = "null") -> list[str]:
    """Two devices, both of which have a part in the run: see there."""
    return ["trainer.devices=2", f"+trainer.callbacks=[{{_target_: paced.Paced, then: {then}}}]"]


def check(folder: Path, out: str, err: str) -> None:
    """The same files as one process has made, and one summary."""
    for name in ("predictions.tsv", "rejected.jsonl"):
        assert (folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes()
    assert len(list((folder / "out").iterdir())) == 4
    assert [line.split()[0] for line in out.splitlines()].count("predicted") == 1
    assert "Traceback" not in err


@pytest.mark.process
def test_two_devices(whole: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Over what was there before, and in a precision that both have to heed."""
    precise = [*whole, "trainer.precision=bf16-mixed"]
    assert main(["predict", *precise, f"output_dir={tmp_path / 'one'}", "overwrite=true"]) == 0
    assert main(["predict", *whole]) == 0
    capfd.readouterr()
    assert main(["predict", *precise, *paced(), "overwrite=true"]) == 0
    said = capfd.readouterr()
    check(tmp_path, *said)
    assert said.err == ""
    assert "rows of this process" in said.out, "the other one has done some"


@pytest.mark.process
def test_a_process_that_dies(whole: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The other one does its share, and says so."""
    capfd.readouterr()
    assert main(["predict", *whole, *paced("kill")]) == 0
    said = capfd.readouterr()
    check(tmp_path, *said)
    assert said.err == "1 of 2 processes failed; the others did their share\n"


@pytest.mark.process
@pytest.mark.parametrize("number", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.deep)])
def test_a_signal_ends_both(whole: list[str], tmp_path: Path, number: str, capfd: pytest.CaptureFixture[str]) -> None:
    """At a batch's end, with what is done by then, and the same command goes on: here on one device."""
    capfd.readouterr()
    before = set(psutil.Process().children())  # a fork server of an earlier test, for one
    assert main(["predict", *whole, *paced(number)]) == 128 + signal.Signals[number]
    said = capfd.readouterr()
    assert said.err.startswith(f"interrupted by {number}: ")
    assert said.err.count("\n") == 1
    assert "of 45 splits are done and kept; the same command continues" in said.err
    assert before.issuperset(psutil.Process().children())
    assert not list((tmp_path / "out").rglob("*.tmp-*"))
    assert main(["predict", *whole]) == 0
    check(tmp_path, *capfd.readouterr())


@pytest.fixture
def endless(whole: list[str], tmp_path: Path) -> list[str]:
    """Arguments of `predict` for more rows than a test waits for, on two devices with a worker each."""
    rows = [[str(n), NODES[n % 7], NODES[n % 11], "HIF1A " * (n % 6)] for n in range(100_000)]
    write_lines(tmp_path / "rows.tsv", [["id", "source", "target", "evidence"], *rows])
    return ["predict", *whole, "trainer.devices=2", "num_workers=1"]


def interrupt(group: int, folder: Path) -> None:
    """Press Ctrl-C when all processes are at work: it reaches each of the group at once, workers too."""
    (parts,) = appear(folder, "parts-*", 1)
    appear(parts, "_process-*.json", 2)
    os.killpg(group, signal.SIGINT)


def check_interrupted(group: int, folder: Path, status: int, error: str) -> None:
    """One of them says so, in one line, and none is left."""
    assert status == 128 + signal.SIGINT
    assert error.count("\n") == 1, error
    assert "splits are done and kept; the same command continues" in error
    assert not list(folder.glob("parts-*/*.tmp-*"))
    until = time.monotonic() + 30
    while left := list(alive(group)):
        assert time.monotonic() < until, left
        time.sleep(0.1)


@pytest.mark.process
def test_ctrl_c_at_a_terminal(endless: list[str], tmp_path: Path) -> None:
    started = forks.Command([*endless, "start_method=fork"], tmp_path / "log")
    interrupt(started.number, tmp_path / "out")
    status, _, error = started.wait()
    check_interrupted(started.number, tmp_path / "out", status, error)


@pytest.mark.deep
@pytest.mark.process
def test_ctrl_c_under_forkserver(endless: list[str], tmp_path: Path) -> None:
    """As a whole process: a fork cannot use the fork server of the process that it was made from."""
    command = [sys.executable, "-m", "stonkgs", *endless, "start_method=forkserver"]
    started = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True, text=True)
    interrupt(started.pid, tmp_path / "out")
    _, error = started.communicate(timeout=120)
    check_interrupted(started.pid, tmp_path / "out", started.returncode, error)


def alive(group: int) -> Iterator[psutil.Process]:
    """Processes of a group; not those that have ended, and that nobody has asked for how."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def test_processes_that_torchrun_has_started(whole: list[str], tmp_path: Path) -> None:
    """Each by itself, by the variables that torchrun sets: see the next one."""
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    started = [
        forks.Command(
            ["predict", *whole, paced()[1]],
            tmp_path / f"log-{rank}",
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    (first, out, error), (second, nothing, more) = [process.wait() for process in started]
    assert (first, second, nothing) == (0, 0, ""), error + more
    check(tmp_path, out, error + more)


@pytest.mark.deep
@pytest.mark.process
@pytest.mark.parametrize("splits", ["null", "auto"])
def test_torchrun(whole: list[str], tmp_path: Path, splits: str) -> None:
    """Each by itself; with `splits` each tells, too."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29511"]
    command = [*torchrun, "-m", "stonkgs", "predict", *whole, f"splits={splits}", paced()[1]]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}  # where it finds `paced`
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    out = done.stdout if splits == "null" else "".join(done.stdout.splitlines(keepends=True)[:7])
    check(tmp_path, out, done.stderr)


@pytest.mark.process
def test_a_sweep_on_two_devices(
    small_run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each job starts its own processes."""
    monkeypatch.chdir(tmp_path)  # where hydra leaves its multirun.yaml
    sweep = ["--multirun", *small_run, "batch.size=1,2", "trainer.devices=2", "trainer.accelerator=cpu"]
    assert main(["predict", *sweep]) == 0
    assert [(tmp_path / "out" / job / "_SUCCESS").exists() for job in "01"] == [True, True]
    said = capfd.readouterr()
    assert said.out.count("predicted") == 2
    assert said.err == ""


def appear(folder: Path, pattern: str, count: int) -> list[Path]:
    """The files of a pattern, when there are so many."""
    deadline = time.monotonic() + 120
    while len(found := sorted(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
