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

import pytest
from conftest import LABELS, NODES, ROOT, WALK_LENGTH, write_lines
from synthetic import as_published, write_model

from stonkgs.cli import main

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^(<!-- tests -->\n)?```(bash|python)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line for mark, kind, block in BLOCKS if kind == "bash" and not mark for line in block.splitlines()]
SETUP, TASKS = [c for c in COMMANDS if " -m venv " in c], [c for c in COMMANDS if " -m venv " not in c]
PYTHON = [block for _, kind, block in BLOCKS if kind == "python"]

#: The wheel of torch for CPUs: a resolver left alone may fetch gigabytes.
TORCH = "torch==2.13.0\n"


@pytest.fixture
def user(tmp_path: Path, kge_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of."""
    for name, kept in (("embeddings", "vectors"), ("random_walks", "walks")):
        shutil.copy(kge_path.parent / f"{kept}.tsv", tmp_path / f"{name}_best_model.tsv")
    shutil.copy(kge_path, tmp_path / "kge.h5")
    model = write_model(
        tmp_path / "model", hidden=16, layers=2, text_length=12, walk_length=WALK_LENGTH, max_position_embeddings=24
    )
    as_published(model, tmp_path / "correct_binary", nodes=len(NODES))
    (tmp_path / "vocabulary").rename(tmp_path / "biobert-v1.1")
    write_lines(tmp_path / "statements.tsv", [["source", "target", "evidence"], [NODES[0], "NA", "HIF1A"]])
    (tmp_path / "nightly").mkdir()
    row = {"source": NODES[0], "target": "NA", "sentence": "HIF1A"}
    (tmp_path / "nightly" / "1.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_shows_something() -> None:
    assert len(SETUP) == 1
    assert len(TASKS) >= 3
    assert len(PYTHON) >= 1


@pytest.mark.parametrize("command", TASKS)
def test_a_command(command: str, user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert program == "stonkgs"
    if arguments[:2] == ["kge", "build"]:  # the others need what it makes
        (user / "kge.h5").unlink()
    assert main(arguments) == 0, capsys.readouterr().err
    if arguments[0] == "predict":
        assert list(user.rglob("_SUCCESS"))


@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {})
    assert "tensor([[" in capsys.readouterr().out


def test_ci_runs_the_test_command() -> None:
    (block,) = (block for mark, _, block in BLOCKS if mark)
    assert block.strip().endswith("-m pytest")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.process
def test_setup_and_a_wheel_from_another_directory(user: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The README's set-up line in a clean clone; then a wheel, alone in the same environment, in the user's folder."""
    folder = tmp_path_factory.mktemp("install")
    (folder / "constraints").write_text(TORCH)
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment["PIP_CONSTRAINT"] = str(folder / "constraints")

    def run(command: str, where: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(f"git clone -q {shlex.quote(str(ROOT))} clone", folder)
    setup = SETUP[0].replace("python3", shlex.quote(sys.executable), 1)
    assert "stonkgs predict: statements in" in run(setup, folder / "clone")
    pip = f"{folder}/clone/.venv/bin/pip"
    run(
        f"{pip} wheel -q --no-deps -w {folder} . && {pip} uninstall -q -y stonkgs && {pip} install -q {folder}/*.whl",
        folder / "clone",
    )
    shutil.rmtree(folder / "clone" / "stonkgs")
    summary = run(
        f"{folder}/clone/.venv/bin/stonkgs predict model.path=model kge.path=kge.h5 source.path=statements.tsv", user
    )
    assert "predicted             1" in summary
    header = (user / "predictions" / "statements" / "predictions.tsv").read_text().split("\n")[0].split("\t")
    assert header[3:5] == list(LABELS)
