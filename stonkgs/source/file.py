"""Files by path, glob or list; plain or gzip, told by their content."""

import glob
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from stonkgs.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"


def expand(path: str | Sequence[str]) -> list[str]:
    """The files behind a path, a glob or a list of either, in the order given; a glob's in sorted order.

    Raises UserError where nothing is found, or where a file is a directory.
    """
    files: list[str] = []
    for item in [path] if isinstance(path, str) else path:
        # A file may really be called "a[1].tsv": what exists is taken by its name.
        found = [item] if Path(item).exists() else sorted(glob.glob(item, recursive=True))
        if not found:
            raise UserError(f"{item}: no such file")
        files += found
    for file in files:
        if Path(file).is_dir():
            raise UserError(f"{file}: is a directory; name its files, for example '{Path(file) / '*.tsv'}'")
    if not files:
        raise UserError("source.path is an empty list: name at least one file")
    return files


def is_gzip(path: str) -> bool:
    """Whether the content is gzip, whatever the name says."""
    with open_plain(path) as file:
        return file.read(2) == GZIP_MAGIC


def open_plain(path: str) -> BinaryIO:
    """Open a file for reading; UserError instead of OSError."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def open_bytes(path: str) -> BinaryIO:
    """Open a plain or gzip file as a stream of its (decompressed) bytes."""
    return cast(BinaryIO, gzip.open(path)) if is_gzip(path) else open_plain(path)
