"""Finds files by path, glob or list, and opens them as plain text, gzip or zstd, which their content decides."""

import glob
import gzip
import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import pyarrow as pa

from stonkgs.errors import UserError, reason

GZIP_MAGIC = b"\x1f\x8b"
#: The start of a zstd frame, or of a skippable frame that may come first.
ZSTD_MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
#: Bytes read at a time.
BLOCK = 256 * 1024
#: The most that a file may unpack to, as a multiple of its size. Text unpacks to up to 50 times its size, and to 600
#: times with zstd if abstracts are repeated; a gzip bomb to 1,000 times, a zstd bomb to 10,000 times and more.
RATIO: Final = {"gzip": 250, "zstd": 2000}
#: Up to this many unpacked bytes any ratio is admitted: they are read in a second.
ALLOWANCE = 256 << 20

#: A path, a glob, or a list of either.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Compression = Literal["gzip", "zstd"]


def expand(path: Paths) -> list[str]:
    """Returns the files of a path, a glob or a list of either, in the order given; those of a glob sorted.

    Raises UserError where nothing is found, where one is no regular file, or where one is found twice.
    """
    files: list[str] = []
    for item in [path] if isinstance(path, (str, os.PathLike)) else path:
        if not isinstance(item, (str, os.PathLike)) or not os.fspath(item):
            raise UserError(f"source.path: {item!r} is no path")
        name = os.path.expanduser(item)  # noqa: PTH111  # a glob is no Path
        # An existing file is taken by its name, since "a[1].tsv" may be a name and no glob.
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


def compression(path: str) -> Compression | None:
    """Returns how the content is compressed, whatever the file's name says; None where it is not."""
    with file_errors(path), open_file(path) as file:
        magic = file.read(4)
    if magic.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if ZSTD_MAGIC.match(magic) else None


def open_file(path: str) -> io.BufferedReader:
    """Open a file for reading. Raises UserError."""
    with file_errors(path):
        return open(path, "rb")


def open_bytes(path: str) -> io.BufferedReader:
    """Open a plain or compressed file as a stream of its (decompressed) bytes. Raises UserError."""
    kind = compression(path)
    return open_file(path) if kind is None else io.BufferedReader(Unpacked(path, kind), BLOCK)


def first_bytes(path: str, count: int) -> bytes:
    """Returns the first bytes of the (decompressed) content. Raises UserError."""
    with open_bytes(path) as stream, file_errors(path):
        return stream.read(count)


class Unpacked(io.RawIOBase):
    """The decompressed content of a file. It seeks forward by reading, and back by starting over.

    Reading raises UserError where the data is damaged, or unpacks to so much that it must be a bomb.
    """

    def __init__(self, path: str, kind: Compression) -> None:
        self._path, self._kind = path, kind
        self._open()

    def _open(self) -> None:
        self._at, self._file = 0, open_file(self._path)
        # pyarrow reads all frames, and refuses a window of over 128 MB before it allocates the memory.
        zstd = self._kind == "zstd"
        self._stream: Any = pa.CompressedInputStream(self._file, "zstd") if zstd else gzip.GzipFile(fileobj=self._file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._unpack(len(buffer))
        self._at += len(data)
        # Compared with the bytes read so far, not with the file's size, so that a large bomb is found early too.
        if self._at > ALLOWANCE and self._at > RATIO[self._kind] * self._file.tell():
            raise UserError(
                f"{self._path}: its {self._kind} data unpacks to more than {RATIO[self._kind]} times its size, "
                "as no text does; if you trust it, unpack it yourself"
            )
        buffer[: len(data)] = data
        return len(data)

    def _unpack(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except (EOFError, zlib.error, OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the decoder
                raise
            raise UserError(f"{self._path}: {self._damage(str(error))}") from error
        return data

    def _damage(self, reason: str) -> str:
        if "too much memory" in reason:
            return "its zstd data needs a window of over 128 MB; pack it again without --long, or unpack it"
        return f"its {self._kind} data is cut short or damaged ({reason}); fetch it again"

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the end of packed data is not known")
        if offset < self._at:
            self._close_streams()
            self._open()
        while self._at < offset and self.read(min(BLOCK, offset - self._at)):
            pass
        return self._at

    def close(self) -> None:
        super().close()
        self._close_streams()

    def _close_streams(self) -> None:
        for stream in ("_stream", "_file"):
            if stream in self.__dict__:
                getattr(self, stream).close()


def line_at(path: str, offset: int) -> int:
    """Returns the number, from 1, of the line that starts at a byte offset. Reads the file up to there."""
    lines, left = 1, offset
    with open_bytes(path) as file:
        while left and (block := file.read(min(left, 1 << 20))):
            lines += block.count(b"\n")
            left -= len(block)
    return lines


def content_size(path: str) -> int:
    """Returns the size of the (decompressed) content in bytes. A compressed file is unpacked to find it."""
    if compression(path) is None:
        return Path(path).stat().st_size
    with open_bytes(path) as stream, file_errors(path):
        return sum(len(block) for block in iter(lambda: stream.read(BLOCK), b""))


@contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Turn an OSError in opening or reading a file into a UserError of one line that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: {reason(error)}") from error


class Closable(Protocol):
    """Has an open file."""

    def close(self) -> None:
        """Close the file."""


T = TypeVar("T", bound=Closable)


class ReaderCache(Generic[T]):
    """Keeps one reader of a file open between two splits, at the position where it stopped.

    A caller takes the reader out and gives it back, so that two loops over one source never share a position. A pickle
    of the cache is empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[int, str, T] | None = None

    def take(self, file: str) -> T | None:
        """Remove and return the reader of this file; None if there is none. A reader of another file is closed."""
        kept, self._kept = self._kept, None
        if kept is None:
            return None
        process, name, reader = kept
        # A forked child shares the position in the file with its parent, and must not move it.
        if (process, name) == (os.getpid(), file):
            return reader
        reader.close()
        return None

    def give(self, file: str, reader: T) -> None:
        """Keep a reader for the next split of its file, and close the one that was kept."""
        if self._kept is not None:
            self._kept[2].close()
        self._kept = (os.getpid(), file, reader)

    def __reduce__(self) -> "tuple[type[ReaderCache[T]], tuple[()]]":
        return (ReaderCache, ())
