"""What the machine refuses to a run amid its work: one line with what helps, and how to go on from what is kept."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import write_lines
from torch.utils.data import get_worker_info

from stonkgs.cli import main
from stonkgs.engine.failures import explained
from stonkgs.errors import UserError
from stonkgs.runs.folder import RunFolder
from stonkgs.source.tsv import TsvSource
from stonkgs.writer.base import PredictionWriter
from stonkgs.writer.joining import Joining

KEPT = r"; 2 of 4 splits are done and kept; the same command continues\n"
ALL_KEPT = r"; 4 of 4 splits are done and kept; the same command continues\n"


def root(*command: str) -> None:
    """Run what only root may, or skip the test."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only root may do so: {' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with room for 64 files."""
    (tmp_path / "disk").mkdir()
    root("mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=64", "tmpfs", str(tmp_path / "disk"))
    yield tmp_path / "disk"
    subprocess.run(["umount", "-l", str(tmp_path / "disk")], check=True)


def no_inode(disk: Path) -> None:
    for number in range(64):
        try:
            (disk / f"fill{number}").touch()
        except OSError:
            return
    raise AssertionError("there is still room")


def read_only(disk: Path) -> None:
    root("mount", "-o", "remount,ro", str(disk))


def full(disk: Path) -> None:
    try:
        (disk / "fill").write_bytes(bytes(8 << 20))
    except OSError:
        return
    raise AssertionError("there is still room")


def mended(disk: Path) -> None:
    root("mount", "-o", "remount,rw", str(disk))
    for path in disk.glob("fill*"):
        path.unlink()


@pytest.fixture
def four_splits(tmp_path: Path, small_run: list[str]) -> list[str]:
    """Arguments of a run of four splits."""
    rows = [["NA", "NA", f"word {number}"] for number in range(8)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *rows])
    return [*small_run, "split.rows=2", "batch.size=2"]


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int, do: Callable[[], None]) -> None:
    """Do something before the call of this number, from 1, of a method."""
    method, calls = getattr(owner, name), 0

    def called(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            do()
        return method(*args, **options)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (no_inode, r"No inode left on device; remove files there, of which df -i shows the number"),
        (read_only, r"Read-only file system; make the file system writable, or name a folder elsewhere"),
        (full, r"No space left on device"),
    ],
    ids=["no inode", "read-only", "full"],
)
def test_a_disk_that_refuses_the_third_split(
    happens: Callable[[Path], None],
    said: str,
    disk: Path,
    four_splits: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["predict", *four_splits, f"output_dir={disk}/out"]
    before(monkeypatch, PredictionWriter, "_commit", 3, lambda: happens(disk))
    for _ in range(2):  # nor does it help to try again
        assert main(command) == 1
        error = capsys.readouterr().err
        assert re.fullmatch(rf"error: {disk}/out/parts-\w+/\S+: cannot be written: {said}{KEPT}", error), error
    mended(disk)
    assert main(command) == 0, capsys.readouterr().err
    assert (disk / "out" / "_SUCCESS").exists()


def test_no_inode_is_left_for_success(
    disk: Path, four_splits: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", *four_splits, f"output_dir={disk}/out"]
    before(monkeypatch, RunFolder, "seal", 1, lambda: no_inode(disk))
    for _ in range(2):
        assert main(command) == 1
        error = capsys.readouterr().err
        said = "No inode left on device; remove files there, of which df -i shows the number"
        assert re.fullmatch(rf"error: {disk}/out/_SUCCESS: {said}{ALL_KEPT}", error), error
    mended(disk)
    assert main(command) == 0, capsys.readouterr().err
    assert (disk / "out" / "_SUCCESS").exists()
    assert len((disk / "out" / "predictions.tsv").read_text().splitlines()) == 9


@pytest.mark.parametrize("name", ["seal", "retract", "write_record"])
def test_a_disk_that_turns_read_only_at_the_end(
    name: str,
    four_splits: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While plan.json is locked no disk can be remounted, but one with errors remounts itself."""

    def refuse() -> None:
        raise OSError(30, "Read-only file system", str(tmp_path / "out" / "plan.json"))

    before(monkeypatch, RunFolder, name, 1, refuse)
    assert main(["predict", *four_splits]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: {tmp_path}/out/plan\.json: Read-only file system; .*{ALL_KEPT}", error), error
    assert main(["predict", *four_splits]) == 0, capsys.readouterr().err


def test_an_emptied_account(
    four_splits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its split is done again, and nobody has to do anything; `status` can be asked meanwhile."""

    def empty() -> None:
        (account,) = (tmp_path / "out").glob("parts-*/_00000001.jsonl")
        account.write_bytes(b"")
        assert main(["status", str(tmp_path / "out")]) == 0

    before(monkeypatch, Joining, "_check_parts", 1, empty)
    assert main(["predict", *four_splits]) == 0, capsys.readouterr().err
    assert "done again            1   parts that were damaged" in capsys.readouterr().out
    assert len((tmp_path / "out" / "predictions.tsv").read_text().splitlines()) == 9


def test_a_worker_that_the_system_has_ended(
    four_splits: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = TsvSource.read

    def read_and_die(self: TsvSource, split: Any, schema: Any) -> Any:
        # A split is complete when the next one is begun: the first two are committed while this one waits.
        if split.number == 3 and get_worker_info() is not None:
            until = time.monotonic() + 20
            while len(list((tmp_path / "out").glob("parts-*/0*.tsv"))) < 2 and time.monotonic() < until:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return (yield from read(self, split, schema))

    monkeypatch.setattr(TsvSource, "read", read_and_die)
    assert main(["predict", *four_splits, "num_workers=1", "start_method=fork"]) == 1
    error = capsys.readouterr().err
    said = "a worker process was killed, perhaps for want of memory: a smaller num_workers= needs less"
    assert re.fullmatch(rf"error: {said}{KEPT}", error), error
    assert main(["predict", *four_splits]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory: a smaller batch.size= or num_workers= needs less; go on"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you"),
            "there is not enough memory: a smaller batch.size= or num_workers= needs less; go on",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "there is not enough memory: a smaller batch.size= or num_workers= needs less; go on",
        ),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied; ask for permission, or name.*; go on"),
        (OSError(24, "Too many open files", "/x"), "/x: Too many open files; allow more open files: ulimit -n; go on"),
    ],
    ids=["memory", "torch's memory", "a GPU's memory", "a right", "open files"],
)
def test_other_refusals(error: Exception, said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"), explained(2, lambda: "go on"):
        raise error


@pytest.mark.parametrize("error", [UserError("a bad row"), ValueError("a bug"), FileNotFoundError(2, "none", "/x")])
def test_what_is_not_the_machines_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained(2, lambda: "go on"):
        raise error
    assert caught.value is error
