"""Files: found by name, glob or list; gzip by content; every failure names the file."""

import gzip
import os
import pickle
from pathlib import Path

import pytest

from stonkgs.errors import UserError
from stonkgs.source.file import Kept, content_size, expand, is_gzip, open_bytes


def test_globs_are_sorted_and_lists_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.tsv", "c[1].tsv"):
        (tmp_path / name).touch()
    a, b, c = (str(tmp_path / name) for name in ("a.tsv", "b.tsv", "c[1].tsv"))
    assert expand(str(tmp_path / "*.tsv")) == [a, b, c]
    assert expand([b, a]) == [b, a]
    assert expand(c) == [c]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.tsv: no such file"):
        expand(str(tmp_path / "none.tsv"))
    with pytest.raises(UserError, match="is a directory"):
        expand(str(tmp_path))
    with pytest.raises(UserError, match="empty list"):
        expand([])
    with pytest.raises(UserError, match=r"none\.tsv: No such file"):
        is_gzip(str(tmp_path / "none.tsv"))


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").touch()
    (tmp_path / "x").mkdir()
    glob, detour = str(tmp_path / "*.tsv"), str(tmp_path / "x" / ".." / "a.tsv")
    for paths in ([glob, glob], [glob, detour]):
        with pytest.raises(UserError, match=r"a\.tsv: is named twice"):
            expand(paths)


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no regular file; save it to one first"):
        expand(tmp_path / "pipe")


def test_paths_may_be_paths_and_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tsv").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand(tmp_path / "a.tsv") == expand("~/a.tsv") == expand(["~/a.tsv"]) == [str(tmp_path / "a.tsv")]


@pytest.mark.parametrize("path", ["", [None], [3], [["a"]]])
def test_what_is_no_path(path: object) -> None:
    with pytest.raises(UserError, match="is no path"):
        expand(path)  # type: ignore[arg-type]


def test_gzip_is_told_by_content_and_may_have_members(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(gzip.compress(b"abc") + gzip.compress(b"defg"))
    assert is_gzip(str(path))
    assert content_size(str(path)) == 7
    with open_bytes(str(path)) as file:
        assert file.read() == b"abcdefg"
    path.write_bytes(b"abc")
    assert content_size(str(path)) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(os.urandom(5000)))
    if damage == "cut":
        del data[-100:]
    else:
        data[-6] ^= 255
    (tmp_path / "rows.gz").write_bytes(data)
    with pytest.raises(UserError, match=r"rows\.gz: its gzip data is cut short or damaged") as error:
        content_size(str(tmp_path / "rows.gz"))
    assert "\n" not in str(error.value)


class Reader:
    """Something to keep open."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_kept_reader_is_taken_once_for_its_file_and_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Kept[Reader] = Kept()
    first, second = Reader(), Reader()
    kept.give("a", first)
    assert kept.take("a") is first
    assert kept.take("a") is None
    kept.give("a", first)
    kept.give("a", second)
    assert first.closed
    assert kept.take("b") is None
    assert second.closed
    kept.give("a", Reader())
    assert pickle.loads(pickle.dumps(kept)).take("a") is None
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert kept.take("a") is None
