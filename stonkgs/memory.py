"""Memory: giving back what is freed, and sharing."""

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from stonkgs.errors import UserError


def give_back() -> None:
    """Return what is freed, but kept by the C library, to the system. Takes milliseconds: once a split.

    Texts and splits come in all sizes, and glibc keeps the holes that they leave: the process would grow by tens of MB
    over the first hundred splits, though it holds no more than before. Elsewhere than on glibc this does nothing.
    """
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None


@contextmanager
def shared_memory(num_workers: int) -> Iterator[None]:
    """Say what a full /dev/shm means to processes that talk with each other: containers are often given 64 MB of it."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename or not num_workers:
            raise
        raise UserError(
            f"/dev/shm is full, through which {num_workers} worker processes are started: set num_workers=0, "
            "or give the container more of it (docker run --shm-size=1g)"
        ) from error
