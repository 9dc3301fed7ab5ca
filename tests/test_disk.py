"""A file's content is on the disk before it has its name, and the name where it is to last."""

import errno
import gc
import os
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest

from stonkgs.disk import MappedFiles, folder_name, link, publish


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is synced and what is renamed, by its inode, in their order. Both are still done."""
    seen: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        seen.append(("synced", os.fstat(handle).st_ino))
        fsync(handle)

    def renamed(source: Path, target: Path) -> None:
        seen.append(("renamed", source.stat().st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return seen


@pytest.mark.parametrize("lasting", [True, False])
def test_content_then_name_then_folder(tmp_path: Path, events: list[tuple[str, int]], lasting: bool) -> None:
    with publish(tmp_path / "a.txt", lasting=lasting) as file:
        file.write(b"whole")
        assert not (tmp_path / "a.txt").exists()
    inode = (tmp_path / "a.txt").stat().st_ino
    assert events == [("synced", inode), ("renamed", inode), *([("synced", tmp_path.stat().st_ino)] if lasting else [])]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_name_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Of several processes the first gets it, also where the file system has no hard links; both files stay."""
    if not links:
        monkeypatch.setattr(os, "link", _no_link)
    for content in ("first", "second"):
        (tmp_path / content).write_text(content)
    link(tmp_path / "first", tmp_path / "plan.json")
    with pytest.raises(FileExistsError):
        link(tmp_path / "second", tmp_path / "plan.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        **{"first": "first", "second": "second"},
        "plan.json": "first",
    }


def _no_link(*_: Path) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "/", "//", "../..", "/etc", "a/../..", "a\0b", "rows", "a.b", "é"]
)
def test_any_name_is_that_of_a_folder_right_below(tmp_path: Path, name: str) -> None:
    inner = tmp_path / folder_name(name)
    inner.mkdir()
    assert inner.resolve().parent == tmp_path.resolve()
    assert name not in ("rows", "a.b", "é") or inner.name == name


def test_mapped_files_are_closed_with_their_owner(tmp_path: Path) -> None:
    """Else Python warns of each, in whatever runs when it notices."""
    path = tmp_path / "store"
    path.write_bytes(b"x")
    gc.collect()  # what other tests have left would be told here
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files: list[Any] = [MappedFiles([path, path])]
        files.append(files)  # a circle, as a job and its check are
        files[0].check()
        assert times_open(path) == 2
        del files
        gc.collect()
    assert times_open(path) == 0


def times_open(path: Path) -> int:
    return [file.path for file in psutil.Process().open_files()].count(str(path))
