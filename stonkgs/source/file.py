"""Files by path, glob or list; plain or gzip, told by their content."""

import glob
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar, cast

from stonkgs.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
#: Files are read by this many bytes.
BLOCK = 256 * 1024


#: A path, a glob, or a list of either.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def expand(path: Paths) -> list[str]:
    """The files behind a path, a glob or a list of either, in the order given; a glob's in sorted order.

    Raises UserError where nothing is found, where one is no regular file, or where one is found twice.
    """
    files: list[str] = []
    for item in [path] if isinstance(path, (str, os.PathLike)) else path:
        if not isinstance(item, (str, os.PathLike)) or not os.fspath(item):
            raise UserError(f"source.path: {item!r} is no path")
        name = os.path.expanduser(item)  # noqa: PTH111  # a glob is no Path
        # A file may really be called "a[1].tsv": what exists is taken by its name.
        found = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))
        if not found:
            raise UserError(f"{name}: no such file")
        files += found
    for file in files:
        _check_regular(file)
    if twice := [file for file, count in Counter(map(os.path.realpath, files)).items() if count > 1]:
        raise UserError(f"{twice[0]}: is named twice by source.path; its rows would be too")
    if not files:
        raise UserError("source.path is an empty list: name at least one file")
    return files


def _check_regular(file: str) -> None:
    if Path(file).is_dir():
        raise UserError(f"{file}: is a directory; name its files, for example '{Path(file) / '*.tsv'}'")
    if not Path(file).is_file():
        raise UserError(f"{file}: is no regular file; save it to one first, because splits are read more than once")


def is_gzip(path: str) -> bool:
    """Whether the content is gzip, whatever the name says."""
    with open_plain(path) as file:
        return file.read(2) == GZIP_MAGIC


def open_plain(path: str) -> BinaryIO:
    """Open a file for reading; UserError instead of OSError."""
    with naming(path):
        return open(path, "rb")


def open_bytes(path: str) -> BinaryIO:
    """Open a plain or gzip file as a stream of its (decompressed) bytes."""
    return cast(BinaryIO, gzip.open(path)) if is_gzip(path) else open_plain(path)


def line_at(path: str, offset: int) -> int:
    """The number, from 1, of the line that starts at a byte of the (decompressed) file. Reads all before it."""
    lines, left = 1, offset
    with open_bytes(path) as file:
        while left and (block := file.read(min(left, 1 << 20))):
            lines += block.count(b"\n")
            left -= len(block)
    return lines


def content_size(path: str) -> int:
    """Bytes of the (decompressed) content. Nothing but decompressing tells a gzip file's; a plain one's is at hand."""
    if not is_gzip(path):
        return Path(path).stat().st_size
    with open_bytes(path) as stream, naming(path):
        return sum(len(block) for block in iter(lambda: stream.read(BLOCK), b""))


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn what goes wrong in opening or reading a file into a UserError of one line that names it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: its gzip data is cut short or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


class Closable(Protocol):
    """What can be kept open."""

    def close(self) -> None:
        """Let go of the file."""


T = TypeVar("T", bound=Closable)


class Kept(Generic[T]):
    """What stays open from one split to the next: one reader, where it stopped, in the process that opened it.

    It is taken and given back, so that two loops over one source never share a position; a pickle of it is empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[int, str, T] | None = None

    def take(self, file: str) -> T | None:
        """The reader of this file, if one was given back here; it is the caller's now."""
        kept, self._kept = self._kept, None
        if kept is None:
            return None
        process, name, reader = kept
        # A forked child shares the parent's position in the file: each would move the other's.
        if (process, name) == (os.getpid(), file):
            return reader
        reader.close()
        return None

    def give(self, file: str, reader: T) -> None:
        """Keep a reader for the next split of its file; another one is closed."""
        if self._kept is not None:
            self._kept[2].close()
        self._kept = (os.getpid(), file, reader)

    def __reduce__(self) -> "tuple[type[Kept[T]], tuple[()]]":
        return (Kept, ())
