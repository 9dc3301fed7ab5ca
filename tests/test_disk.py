"""A file's content is on the disk before it has its name, and the name where it is to last."""

import os
from pathlib import Path

import pytest

from stonkgs.disk import publish


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
