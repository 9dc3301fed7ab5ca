"""What a run has written is damaged by somebody, or by the disk: no damage is joined, and none goes unseen."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import deaths
import forks
import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.runs.stamp import Stamp

WRITERS = ("tsv", "jsonl", "parquet")


@pytest.fixture
def job(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A command over seven splits, with a row that cannot be used in the second one."""
    rows = [[NODES[n % 7], NODES[n % 5], f"HIF1A {n}"] for n in range(60)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *rows[:9], ["bad"], *rows[9:]])
    return [*small_run, "threads=1", "split.rows=9", "batch.size=4"]


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    """One bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_line_less(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


DAMAGES = (emptied, cut, flipped, a_line_less)


def other_arguments(job: list[str], out: Path) -> list[str]:
    return [word for word in job if not word.startswith("output_dir=")] + [f"output_dir={out}"]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["00000001.tsv", "_00000001.jsonl"])
def test_a_committed_part(
    job: list[str], tmp_path: Path, damage: Callable[[Path], None], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows, or its account: the split is done again, and the summary says so. The result is what it would be."""
    check_done_again(job, tmp_path, "tsv", lambda parts: damage(parts / name), capsys)


@pytest.mark.parametrize("writer", WRITERS)
def test_with_every_writer(job: list[str], tmp_path: Path, writer: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_done_again(job, tmp_path, writer, lambda parts: flipped(parts / f"00000001.{writer}"), capsys)


def test_the_part_of_another_split(job: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a sound file, and not the one that belongs here."""

    def swapped(parts: Path) -> None:
        (parts / "00000001.tsv").write_bytes((parts / "00000000.tsv").read_bytes())

    check_done_again(job, tmp_path, "tsv", swapped, capsys)


def check_done_again(
    job: list[str], folder: Path, writer: str, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*job, f"writer={writer}"]
    forks.run(other_arguments(arguments, folder / "whole"), folder / "log")
    killed_at_the_fourth(arguments, folder, writer)
    (parts,) = (folder / "out").glob("parts-*")
    damage(parts)
    assert main(["status", str(folder / "out"), "verify=true"]) == 0
    assert "damaged    1 committed splits, which will be done again" in capsys.readouterr().out
    assert main(["predict", *arguments]) == 0
    assert "done again            1   parts that were damaged" in capsys.readouterr().out
    for name in (f"predictions.{writer}", "rejected.jsonl"):
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert {path.name for path in (folder / "out").iterdir()} == {path.name for path in (folder / "whole").iterdir()}
    records = [json.loads((folder / name / "run.json").read_text()) for name in ("out", "whole")]
    assert records[0]["result"] == records[1]["result"]
    assert records[0]["files"] == records[1]["files"]
    assert main(["predict", *arguments]) == 0
    assert "done again" in capsys.readouterr().out, "it is said whenever the run is looked at"


def killed_at_the_fourth(arguments: list[str], folder: Path, writer: str = "tsv") -> None:
    before = deaths.die_before_the(folder / "out", f"rename parts/N.{writer}.tmp", 3)
    assert forks.wait(forks.fork(arguments, log=folder / "log", before=before)) == -signal.SIGKILL


def test_several_processes_do_it_again(job: list[str], tmp_path: Path) -> None:
    forks.run(other_arguments(job, tmp_path / "whole"), tmp_path / "log")
    killed_at_the_fourth(job, tmp_path)
    (parts,) = (tmp_path / "out").glob("parts-*")
    for number in range(3):
        flipped(parts / f"{number:08d}.tsv")
    for process in [forks.fork([*job, f"splits={k}/3"], log=tmp_path / f"log-{k}") for k in range(3)]:
        assert forks.wait(process) == 0
    assert (tmp_path / "out/predictions.tsv").read_bytes() == (tmp_path / "whole/predictions.tsv").read_bytes()
    assert json.loads((tmp_path / "out/run.json").read_text())["done_again"] == 3


@pytest.mark.parametrize("merge", [True, False])
def test_killed_while_it_does_a_damaged_part_again(job: list[str], tmp_path: Path, merge: bool) -> None:
    """At each operation from the one on that sets the part aside: what goes on with it comes to the same."""
    arguments = [*job, f"merge={str(merge).lower()}"]
    forks.run(other_arguments(arguments, tmp_path / "whole"), tmp_path / "log")
    result = "predictions.tsv" if merge else "parts/00000001.tsv"
    places = ["rename parts/N.tsv", "open parts/N.tsv.tmp", "rename parts/_N.jsonl.tmp", "rename parts/rejected.jsonl"]
    for number, place in enumerate(places):
        out = tmp_path / str(number)
        mine = other_arguments(arguments, out)
        before = deaths.die_before_the(out, "rename parts/rejected.jsonl.tmp")
        assert forks.wait(forks.fork(mine, log=tmp_path / "log", before=before)) == -signal.SIGKILL
        (parts,) = out.glob("parts-*")
        flipped(parts / "00000001.tsv")
        before = deaths.die_before_the(out, place)
        assert forks.wait(forks.fork(mine, log=tmp_path / "log", before=before)) == -signal.SIGKILL, place
        forks.run(mine, tmp_path / "log")
        assert (out / result).read_bytes() == (tmp_path / "whole" / result).read_bytes()
        assert json.loads((out / "run.json").read_text())["done_again"] == 1


@pytest.mark.parametrize("writer", WRITERS)
def test_the_stamps_of_a_finished_run(job: list[str], tmp_path: Path, writer: str) -> None:
    """Size and SHA-256 of what lies there, as `sha256sum` prints it."""
    assert main(["predict", *job, f"writer={writer}"]) == 0
    stamps = json.loads((tmp_path / "out" / "run.json").read_text())["files"]
    assert stamps.keys() == {f"predictions.{writer}", "rejected.jsonl"}
    for name, stamp in stamps.items():
        found = Stamp.of(tmp_path / "out" / name)
        assert stamp == {"size": found.size, "sha256": found.sha256}


@pytest.mark.parametrize("name", ["predictions.tsv", "parts/00000002.tsv"])
def test_a_finished_result_of_another_size(
    job: list[str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command says so at once, and so does `status`; overwrite=true makes it anew."""
    arguments = ["predict", *job, f"merge={str(name == 'predictions.tsv').lower()}"]
    assert main(arguments) == 0
    path = tmp_path / "out" / name
    cut(path)
    for command in (arguments, ["status", str(tmp_path / "out")], ["status", "verify=true", str(tmp_path / "out")]):
        capsys.readouterr()
        assert main(command) == 1
        error = capsys.readouterr().err
        assert "was changed or damaged since its run has finished: it had" in error
        assert error.count("\n") == 1
    assert main([*arguments, "overwrite=true"]) == 0
    assert main(["status", str(tmp_path / "out"), "verify=true"]) == 0


@pytest.mark.parametrize("name", ["predictions.tsv", "rejected.jsonl", "parts/00000002.tsv"])
def test_a_finished_result_of_another_content(
    job: list[str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only verify=true reads it."""
    assert main(["predict", *job, f"merge={str('/' not in name).lower()}"]) == 0
    assert main(["status", str(tmp_path / "out"), "verify=true"]) == 0
    flipped(tmp_path / "out" / name)
    assert main(["status", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["status", "verify=true", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "another content (SHA-256 " in captured.err
    assert "rows read" in captured.out


def test_rejected_rows_may_be_put_away(job: list[str], tmp_path: Path) -> None:
    assert main(["predict", *job]) == 0
    (tmp_path / "out" / "rejected.jsonl").unlink()
    assert main(["predict", *job]) == 0
    assert main(["status", str(tmp_path / "out"), "verify=true"]) == 0
