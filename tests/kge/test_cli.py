"""`stonkgs kge build` and `stonkgs kge info`."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from stonkgs.cli.kge import main
from stonkgs.errors import UserError


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    (tmp_path / "v.tsv").write_text("A\t1\t2\nB\t3\t4\n")
    (tmp_path / "w.tsv").write_text("A\tB\tA\tB\n")
    return ["--vectors", str(tmp_path / "v.tsv"), "--walks", str(tmp_path / "w.tsv")]


def test_build_and_info(tmp_path: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "k.h5")
    assert main(["build", *inputs, "--output", store]) == 0
    built = capsys.readouterr().out
    assert f"{store}: 2 nodes of 2 floats, walks of 3 nodes" in built
    assert "1 nodes without a walk, 0 repeated lines" in built
    assert main(["info", store]) == 0
    shown = capsys.readouterr().out
    for line in (f"store {store}", "nodes 2", "dimension 2", "precision float32", "walk length 3", "A", "B"):
        assert line in [" ".join(shown_line.split()) for shown_line in shown.splitlines()]
    assert "without walk  1 nodes" in shown
    assert "identifiers   0 are of several nodes" in shown
    assert "v.tsv" in shown
    assert built.split()[-1] in shown, "the digest"


def test_half_precision_and_shared_identifiers(
    tmp_path: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["p(X:1 ! A)", "p(X:1 ! B)", "p(X:1)", "p(X:2)", "p(X:3 ! C)", 'p(X:3 ! "C")']
    (tmp_path / "v.tsv").write_text("".join(f"{name}\t1\n" for name in names))
    (tmp_path / "w.tsv").write_text("".join(f"{name}\t{name}\n" for name in names[:2]))
    main(["build", *inputs, "--output", str(tmp_path / "k.h5"), "--half"])
    assert "6 nodes of 1 half-precision floats" in capsys.readouterr().out
    main(["info", str(tmp_path / "k.h5")])
    shown = capsys.readouterr().out
    assert "precision     float16\n" in shown
    assert "without walk  4 nodes\n" in shown
    assert "identifiers   2 are of several nodes" in shown


def test_overwrite(tmp_path: Path, inputs: list[str]) -> None:
    command = ["build", *inputs, "--output", str(tmp_path / "k.h5")]
    main(command)
    with pytest.raises(UserError, match="--overwrite"):
        main(command)
    assert main([*command, "--overwrite"]) == 0


def test_info_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        main(["info", str(tmp_path / "k.h5")])


def test_texts_of_a_store_cannot_drive_the_terminal(
    tmp_path: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.tsv").write_text("A\x1b[2J\t1\nB\t1\n")
    (tmp_path / "w.tsv").write_text("B\tB\n")
    main(["build", *inputs, "--output", str(tmp_path / "k.h5")])
    with h5py.File(tmp_path / "k.h5", "r+") as file:
        file.attrs["origin"] = np.bytes_("\x1b]0;title\x07")
    capsys.readouterr()
    main(["info", str(tmp_path / "k.h5")])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "  A?[2J" in shown


@pytest.mark.parametrize("argv", [[], ["build"], ["info"], ["other"]])
def test_misuse_shows_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: stonkgs kge" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom stonkgs.cli.kge import main\n"
        "try: main(['build', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'h5py', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "--overwrite" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
