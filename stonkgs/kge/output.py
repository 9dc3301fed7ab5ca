"""The file of a new store: it appears complete or not at all."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from stonkgs.disk import sync_folder
from stonkgs.errors import UserError
from stonkgs.kge.index import Scratch
from stonkgs.kge.layout import reason

#: An attribute of an HDF5 file holds at most 64 KB.
LONGEST_ORIGIN: Final = 60_000
#: Input files that a store names.
NAMED_FILES: Final = 20


@contextmanager
def new_store(output: str, *, inputs: Sequence[str], overwrite: bool) -> Iterator[tuple[str, Scratch]]:
    """Yields the path of a temporary file, to be written and sealed, and a place for intermediate data beside it.

    Without an error in the `with` block the file is renamed to `output` at the end; else nothing is left of it. Raises
    UserError where the output is one of the `inputs`, exists, or cannot be written.
    """
    _check(output, inputs, overwrite)
    folder, temporary = str(Path(output).absolute().parent), f"{output}.tmp-{os.getpid()}"
    try:
        with Scratch(folder) as scratch:
            yield temporary, scratch
        Path(temporary).replace(output)
        sync_folder(Path(folder))
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({reason(error)}); name a folder that exists, "
            "can be written to and has room for the vectors"
        ) from error
    finally:
        with suppress(OSError):
            Path(temporary).unlink()


def _check(output: str, inputs: Sequence[str], overwrite: bool) -> None:
    path = Path(output)
    if path.is_dir():
        raise UserError(f"{output}: is a directory; name a file in it, for example '{path / 'kge.h5'}'")
    if path.exists() and any(Path(file).exists() and path.samefile(file) for file in inputs):
        raise UserError(f"{output}: is one of the inputs; name another output")
    if path.exists() and not overwrite:
        raise UserError(f"{output}: exists; name another output, or replace it with --overwrite")


def release() -> str:
    """Returns the version of this package, for the origin of a store."""
    try:
        return version("stonkgs")
    except PackageNotFoundError:
        return "unknown"
