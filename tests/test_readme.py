"""Every command and every line of Python that the README shows, run."""

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import NODES, ROOT, WALK_LENGTH, write_lines
from published.conftest import cache, checkpoint, shelves, site  # noqa: F401  # fixtures
from published.server import Site
from synthetic import as_published, write_model

from stonkgs.cli import main

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^(<!-- tests -->\n)?```(bash|python)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line for mark, kind, block in BLOCKS if kind == "bash" and not mark for line in block.splitlines()]
SETUP, TASKS = [c for c in COMMANDS if " -m venv " in c], [c for c in COMMANDS if " -m venv " not in c]
SCRIPTS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [block for _, kind, block in BLOCKS if kind == "python"]


@pytest.fixture
def user(tmp_path: Path, kge_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A folder with the files that the README speaks of, beside a checkout's datasets; Zenodo is a site of our own."""
    for name, kept in (("embeddings", "vectors"), ("random_walks", "walks")):
        shutil.copy(kge_path.parent / f"{kept}.tsv", tmp_path / f"{name}_best_model.tsv")
    model = write_model(
        tmp_path / "ours", hidden=16, layers=2, text_length=12, walk_length=WALK_LENGTH, max_position_embeddings=24
    )
    as_published(model, tmp_path / "correct_binary", nodes=len(NODES))
    (tmp_path / "vocabulary").rename(tmp_path / "biobert-v1.1")
    write_lines(tmp_path / "statements.tsv", [["source", "target", "evidence"], [NODES[0], "NA", "HIF1A"]])
    (tmp_path / "nightly").mkdir()
    row = {"source": NODES[0], "target": "NA", "sentence": "HIF1A", "id": 1}
    (tmp_path / "nightly" / "1.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of the README: ours in this process, the shell's in a shell."""
    program, *arguments = shlex.split(command)
    if program == "stonkgs":
        assert main(arguments) == 0, capsys.readouterr().err
    else:
        subprocess.run(["bash", "-c", command], check=True, env=shell_environment())


def shell_environment() -> dict[str, str]:
    """With this environment's programs first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_the_readme_shows_something() -> None:
    assert len(SETUP) == 1
    assert len(TASKS) >= 8
    assert len(PYTHON) >= 2


def test_all_of_it_from_top_to_bottom(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands in their order, each with what those before it have made."""
    for command in TASKS:
        run(command, capsys)
    found = {path.parent.name for path in user.rglob("_SUCCESS")}
    predicted = {"mine", "emmaa", "rated", "1", "results", "on-two", "shared", "in-parts", "by-my-model"}
    predicted |= {"texts", "by-my-graph", "embedded", "grown"}
    assert found == predicted | {"correct_binary", "asserted", "pretrained", "own", *"01234"}
    learned = json.loads((user / "training" / "correct_binary" / "metrics.json").read_text())
    assert learned["test"]["macro_f1"] > learned["majority"]["macro_f1"] + 0.2
    printed = capsys.readouterr().out
    assert "nothing was written" in printed
    assert "finished                  before; nothing was done" in printed


@pytest.mark.process
def test_a_slurm_array(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two tasks of it at once, as SLURM would start them."""
    script = next(script for script in SCRIPTS if "#SBATCH" in script)
    run(next(command for command in TASKS if command.startswith("printf")), capsys)
    (user / "night.sbatch").write_text(script)
    variables = {"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_JOB_ID": "7"}
    tasks = [variables | {"SLURM_ARRAY_TASK_ID": task} for task in ("0", "5")]
    started = [subprocess.Popen(["bash", "night.sbatch"], env=shell_environment() | task) for task in tasks]
    assert [task.wait(120) for task in started] == [0, 0]
    assert len((user / "night" / "predictions.tsv").read_text().splitlines()) == 2


@pytest.mark.deep
@pytest.mark.process
def test_torchrun_over_two_machines(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both of them this one, with a process each."""
    (script,) = (script for script in SCRIPTS if script.startswith("torchrun"))
    run(next(command for command in TASKS if command.startswith("printf")), capsys)
    script = script.replace("--nproc-per-node=4", "--nproc-per-node=1").replace("gpu-1:29500", "localhost:29513")
    started = [subprocess.Popen(["bash", "-c", script], env=shell_environment()) for _ in range(2)]
    assert [machine.wait(240) for machine in started] == [0, 0]
    assert (user / "both" / "_SUCCESS").exists()


@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in TASKS:
        if command.startswith("printf '"):
            run(command, capsys)
    exec(compile(code, "README.md", "exec"), {})
    assert "correct" in capsys.readouterr().out


def test_ci_runs_the_test_command() -> None:
    (block,) = (block for mark, _, block in BLOCKS if mark)
    assert block.strip().endswith("-m pytest")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.deep
@pytest.mark.process
def test_setup_and_a_wheel_from_another_directory(tmp_path: Path) -> None:
    """The README's first line in a clean clone; then a wheel, alone in the same environment, anywhere."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment |= dict.fromkeys(["PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"], str(ROOT / "constraints.txt"))

    def shell(command: str, where: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shell(f"git clone -q {shlex.quote(str(ROOT))} clone", tmp_path)
    setup = SETUP[0].replace("python3", shlex.quote(sys.executable), 1)
    shown = shell(setup, tmp_path / "clone").splitlines()
    assert shown[-4].split("\t")[:4] == ["id", "source", "target", "evidence"]
    assert any(line.startswith("predicted") for line in shown)
    pip = f"{tmp_path}/clone/.venv/bin/pip"
    shell(
        f"{pip} wheel -q --no-deps -w {tmp_path} . && {pip} uninstall -q -y stonkgs"
        f" && {pip} install -q {tmp_path}/*.whl",
        tmp_path / "clone",
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert "stonkgs/train/card.md.j2" in ZipFile(wheel).namelist()
    for name in ("stonkgs", "configs", "datasets", "predictions"):
        shutil.rmtree(tmp_path / "clone" / name)
    (tmp_path / "elsewhere").mkdir()
    stonkgs = f"{tmp_path}/clone/.venv/bin/stonkgs"
    summary = shell(f"{stonkgs} predict writer=parquet trainer.devices=2", tmp_path / "elsewhere")
    assert "predictions/statements/predictions.parquet" in summary
    assert "rows read" in shell(f"{stonkgs} status predictions/statements", tmp_path / "elsewhere")
