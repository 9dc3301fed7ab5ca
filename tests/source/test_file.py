"""Files: found by name, glob or list; packing by content; every failure names the file."""

import gzip
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from stonkgs.errors import UserError
from stonkgs.source.file import ALLOWANCE, BLOCK, RATIO, ReaderCache, compression, content_size, expand, open_bytes


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
        compression(str(tmp_path / "none.tsv"))


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


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd}
#: A frame of zstd that holds no content.
SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


def written(folder: Path, data: bytes) -> str:
    (folder / "rows.tsv").write_bytes(data)
    return str(folder / "rows.tsv")


@pytest.mark.parametrize("kind", PACK)
def test_packing_is_told_by_content_and_may_have_members(tmp_path: Path, kind: str) -> None:
    pack = PACK[kind]
    path = written(tmp_path, pack(b"abc") + pack(b"") + pack(b"defg"))
    assert compression(path) == kind
    assert content_size(path) == 7
    with open_bytes(path) as file:
        assert file.read() == b"abcdefg"
    for plain in (b"abc", b"", b"\x28\xb5\x2f"):
        path = written(tmp_path, plain)
        assert compression(path) is None
        assert content_size(path) == len(plain)


def test_frames_that_are_skipped(tmp_path: Path) -> None:
    for data, content in (
        (SKIPPED + zstd(b"abc"), b"abc"),
        (zstd(b"ab") + SKIPPED * 9 + zstd(b"c"), b"abc"),
        (SKIPPED, b""),
    ):
        path = written(tmp_path, data)
        assert compression(path) == "zstd"
        with open_bytes(path) as file:
            assert file.read() == content


@pytest.mark.parametrize("kind", PACK)
def test_packed_files_are_seeked_and_read_by_line(tmp_path: Path, kind: str) -> None:
    data = b"".join(b"%07d\n" % number for number in range(200_000))
    with open_bytes(written(tmp_path, PACK[kind](data))) as file:
        for offset in (800_000, 8, 1_599_992, 0, 1_000_000, 999_999):
            assert file.seek(offset) == offset
            assert file.read(9) == data[offset : offset + 9]
        assert file.seek(1_599_984) == file.tell() == 1_599_984
        assert [file.readline(), file.readline(), file.readline()] == [b"0199998\n", b"0199999\n", b""]


def refused(path: str) -> str:
    with pytest.raises(UserError) as error:
        content_size(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("content", [b"short", os.urandom(500_000)], ids=["short", "long"])
def test_a_cut_packed_file_is_named_in_one_line(tmp_path: Path, kind: str, content: bytes) -> None:
    data = PACK[kind](content)
    cuts = range(4, len(data)) if len(data) < 99 else (4, 11, 2_000, 262_144, len(data) - 4, len(data) - 1)
    for cut in cuts:
        path = written(tmp_path, data[:cut])
        assert refused(path).startswith(f"{path}: its {kind} data is cut short or damaged (")
        assert refused(path).endswith("); fetch it again")
    path = written(tmp_path, data + data[:9])
    assert f"its {kind} data is cut short or damaged" in refused(path)


@pytest.mark.parametrize("kind", PACK)
def test_damage_and_what_lies_behind_are_named(tmp_path: Path, kind: str) -> None:
    data = bytearray(PACK[kind](os.urandom(5000)))
    if kind == "gzip":
        data[-6] ^= 255
    else:  # not all frames have a checksum, but a block has a header
        data[5:10] = b"\xff" * 5
    for damaged in (bytes(data), PACK[kind](b"abc") + b"garbage"):
        assert f"rows.tsv: its {kind} data is cut short or damaged" in refused(written(tmp_path, damaged))


def test_a_huge_window_is_refused_before_it_has_memory(tmp_path: Path) -> None:
    empty_block = b"\x01\x00\x00"
    for exponent, fits in ((17, True), (18, False), (31, False)):
        path = written(tmp_path, b"\x28\xb5\x2f\xfd\x00" + bytes([exponent << 3]) + empty_block)
        if fits:
            assert content_size(path) == 0
        else:
            assert refused(path) == (
                f"{path}: its zstd data needs a window of over 128 MB; pack it again without --long, or unpack it"
            )


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_stopped_behind_the_allowance(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, PACK[kind](bytes(16 << 20)) * 64)
    message = (
        f"{path}: its {kind} data unpacks to more than {RATIO[kind]} times its size, as no text does; "
        "if you trust it, unpack it yourself"
    )
    tracemalloc.start()
    with open_bytes(path) as file:
        taken = sum(len(file.read(BLOCK)) for _ in range(ALLOWANCE // BLOCK - 1))
        with pytest.raises(UserError) as error:
            file.read(2 * BLOCK)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert taken == ALLOWANCE - BLOCK
    assert str(error.value) == refused(path) == message


@pytest.mark.parametrize("kind", PACK)
def test_text_and_what_is_small_are_no_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    assert content_size(written(tmp_path, PACK[kind](bytes(8 << 20)))) == 8 << 20
    monkeypatch.setattr("stonkgs.source.file.ALLOWANCE", 1 << 20)
    rows = b"".join(b"p(HGNC:%d)\tp(HGNC:%d)\tsome sentence\n" % (row, row % 97) for row in range(99_999))
    assert content_size(written(tmp_path, PACK[kind](rows))) == len(rows)
    assert "unpacks to more than" in refused(written(tmp_path, PACK[kind](bytes(8 << 20))))


class Reader:
    """Something to keep open."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_kept_reader_is_taken_once_for_its_file_and_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: ReaderCache[Reader] = ReaderCache()
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
