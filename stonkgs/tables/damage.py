"""Turns the errors of a file that cannot be read into one line for the user."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stonkgs.errors import UserError

#: Characters of a reader's message that are passed on: it may quote a whole row.
MESSAGE = 300


class MisfitError(ValueError):
    """A value does not fit its column's type. The file itself is sound."""


@contextmanager
def reading(file: Path, place: str) -> Iterator[None]:
    """Turn an error that a damaged file causes into a UserError with the file and the `place` in it."""
    try:
        yield
    except (OSError, ValueError, KeyError, RecursionError, csv.Error, pa.ArrowException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:MESSAGE]
        remedy = "" if isinstance(error, MisfitError) else "; is it damaged?"
        raise UserError(f"{file}: {place}: {reason}{remedy}") from error
