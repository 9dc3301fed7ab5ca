"""Files by path, glob or list; plain, gzip or zstd, told by their content."""

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

from stonkgs.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
#: A frame, or one that is skipped, which may come first.
ZSTD_MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
#: Files are read by this many bytes.
BLOCK = 256 * 1024
#: Text unpacks to up to 50 times its size; where each abstract stands behind many pairs, zstd makes 600 of it. A bomb
#: of gzip unpacks to 1,000 times its size, one of zstd to 10,000 times and more.
RATIO: Final = {"gzip": 250, "zstd": 2000}
#: Up to this many bytes any ratio will do: they are read in a second.
ALLOWANCE = 256 << 20

#: A path, a glob, or a list of either.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Compression = Literal["gzip", "zstd"]


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


def compression(path: str) -> Compression | None:
    """How the content is packed, whatever the name says; None where it is not."""
    with naming(path), open_plain(path) as file:
        magic = file.read(4)
    if magic.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if ZSTD_MAGIC.match(magic) else None


def open_plain(path: str) -> io.BufferedReader:
    """Open a file for reading; UserError instead of OSError."""
    with naming(path):
        return open(path, "rb")


def open_bytes(path: str) -> io.BufferedReader:
    """Open a plain or packed file as a stream of its (decompressed) bytes."""
    kind = compression(path)
    return open_plain(path) if kind is None else io.BufferedReader(Unpacked(path, kind), BLOCK)


class Unpacked(io.RawIOBase):
    """The content of a packed file. Seeks as far as Cursor does: forward by reading, back by starting over."""

    def __init__(self, path: str, kind: Compression) -> None:
        self._path, self._kind = path, kind
        self._open()

    def _open(self) -> None:
        self._at, self._file = 0, open_plain(self._path)
        # pyarrow's codec reads all frames there are, and refuses a window of over 128 MB before it has the memory.
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
        # By what was taken up to here, not by the file's size: a large bomb is found as soon as a small one.
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
            if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the decoder's
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
            self._let_go()
            self._open()
        while self._at < offset and self.read(min(BLOCK, offset - self._at)):
            pass
        return self._at

    def close(self) -> None:
        super().close()
        self._let_go()

    def _let_go(self) -> None:
        for stream in ("_stream", "_file"):
            if stream in self.__dict__:
                getattr(self, stream).close()


def line_at(path: str, offset: int) -> int:
    """The number, from 1, of the line that starts at a byte of the (decompressed) file. Reads all before it."""
    lines, left = 1, offset
    with open_bytes(path) as file:
        while left and (block := file.read(min(left, 1 << 20))):
            lines += block.count(b"\n")
            left -= len(block)
    return lines


def content_size(path: str) -> int:
    """Bytes of the (decompressed) content: at hand for a plain file; nothing but unpacking tells a packed one's."""
    if compression(path) is None:
        return Path(path).stat().st_size
    with open_bytes(path) as stream, naming(path):
        return sum(len(block) for block in iter(lambda: stream.read(BLOCK), b""))


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn what goes wrong in opening or reading a file into a UserError of one line that names it."""
    try:
        yield
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
