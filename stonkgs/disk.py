"""Files that are there whole or not at all."""

import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stonkgs.errors import UserError

#: Where a file system has no hard links.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
#: Where it has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
#: Tells the processes of all machines that share a folder from each other, with their number (a fork copies this).
_RUN = uuid.uuid4().hex[:8]


def process_name() -> str:
    """A name that no other process has, on any machine."""
    return f"{os.getpid()}-{_RUN}"


@contextmanager
def publish(
    path: Path, *, check: Callable[[Path], None] | None = None, lasting: bool = True, replace: bool = True
) -> Iterator[BinaryIO]:
    """Write a file beside `path`, see that all of it is on the disk, and rename it: readers see the whole or nothing.

    `check` may look at the closed file and raise. What is `lasting` has its name on the disk, too, and survives a power
    cut; else the name may be lost, but never be there without the content. Raises UserError where the disk is full or
    the folder cannot be written, and FileExistsError where `path` is there at the end and not to be replaced; what was
    written so far is removed.
    """
    beside = path.with_name(f"{path.name}.tmp-{process_name()}")
    try:
        with open(beside, "wb") as file:
            yield file
            size = file.tell()
        if beside.stat().st_size != size:  # a quota, or a file system over a network, that failed quietly
            raise OSError(f"only {beside.stat().st_size:,} of {size:,} bytes arrived")
        if check:
            check(beside)
        _sync(beside)
        if replace:
            beside.replace(path)
        else:
            _claim(beside, path)
        if lasting:
            sync_folder(path.parent)
    except OSError as error:
        if not replace and isinstance(error, FileExistsError):
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _claim(beside: Path, path: Path) -> None:
    """Give a file another name too, FileExistsError where something has it: that is one step."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here: an empty file holds the name for a moment
        path.touch(exist_ok=False)
        try:
            beside.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def link(written: Path, path: Path) -> None:
    """Give a written file another name, too; FileExistsError where it is taken: one of several processes gets it."""
    try:
        os.link(written, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with open(path, "xb") as file:  # exclusive as well, but not there at once with all of its content
            file.write(written.read_bytes())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which the system takes back from a dead process; none where the file is gone.

    Some file systems have no locks, or locks that hold on one machine alone: then nothing is held back.
    """
    try:
        file = open(path, "r+b")  # noqa: SIM115  # a lock over NFS wants it writable
    except FileNotFoundError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> Path:
    """Make a folder with its parents; UserError where it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: not writable")
    return path


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
