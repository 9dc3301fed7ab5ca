"""Giving freed memory back to the system."""

import ctypes
from functools import cache
from typing import Any


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
