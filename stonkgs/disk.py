"""Writes files so that a reader sees the whole file or none, also after a crash or a power cut."""

import errno
import fcntl
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO
from weakref import finalize

from stonkgs.errors import UserError, reason

#: The errors of a file system without hard links.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
#: The errors of a file system without locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
#: Distinguishes processes of several machines that have one process id. A fork copies it, but has another id.
_RUN = uuid.uuid4().hex[:8]


def process_name() -> str:
    """Returns a name that no other process has, on any machine."""
    return f"{os.getpid()}-{_RUN}"


@contextmanager
def publish(
    path: Path, *, check: Callable[[Path], None] | None = None, lasting: bool = True, replace: bool = True
) -> Iterator[BinaryIO]:
    """Write a file under a temporary name, flush it to the disk, and rename it to `path`.

    `check` may look at the closed file and raise. With `lasting` the name is flushed to the disk too, and survives a
    power cut; without it the name may be lost, but it never stands for an incomplete file. Raises UserError where the
    disk is full or the folder cannot be written, and FileExistsError where `path` exists at the end and `replace` is
    false. After an error nothing is left of the temporary file.
    """
    beside = path.with_name(f"{path.name}.tmp-{process_name()}")
    try:
        with open(beside, "wb") as file:
            yield file
            size = file.tell()
        if beside.stat().st_size != size:  # a quota or a network file system may fail silently
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
        raise UserError(f"{path}: cannot be written: {reason(error, path)}") from error
    finally:
        with suppress(OSError):  # a file system that has become read-only keeps it
            beside.unlink(missing_ok=True)


def _claim(beside: Path, path: Path) -> None:
    """Give a file the name `path` in one step. Raises FileExistsError where the name is taken."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here: of two processes in the same instant the later one's file stays
        if path.exists():
            raise FileExistsError(path) from None
        beside.replace(path)


def link(written: Path, path: Path) -> None:
    """Give a written file a second name. Raises FileExistsError where the name is taken: only one process gets it.

    Where there are no hard links it is a copy, which is made under a lock: see `remove_half_written`.
    """
    try:
        os.link(written, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        content = written.read_bytes()
        with open(path, "xb") as file, _lock(file):
            try:
                file.write(content)
                file.flush()
                written.stat()  # as with a link, a file that is removed meanwhile gets no second name
            except BaseException:
                path.unlink(missing_ok=True)
                raise


def remove_half_written(path: Path, is_whole: Callable[[bytes], bool]) -> None:
    """Remove a file that `link` has begun to copy, if the process was killed on the way.

    A process that is at work holds the lock, or finds at the end that the name is not its own.
    """
    with suppress(FileNotFoundError), open(path, "r+b") as file, _lock(file):
        if not is_whole(file.read()):
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file. The system releases it when the process dies. Does nothing where the file is gone.

    Some file systems have no locks, or locks that hold on one machine only: there other processes do not wait.
    """
    try:
        file = open(path, "r+b")  # noqa: SIM115  # NFS locks only writable files
    except FileNotFoundError:
        yield
        return
    with file, _lock(file):
        yield


@contextmanager
def _lock(file: BinaryIO) -> Iterator[None]:
    """Hold a lock on an open file, until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    yield


class MappedFiles:
    """Files that are mapped into memory, so that whoever writes to one of them changes what a run computes with.

    Another file may take the name of one: the map keeps this one.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        with ExitStack() as opened:
            self._files = [opened.enter_context(open(path, "rb")) for path in paths]
            finalize(self, opened.pop_all().close)  # they stay open as long as the maps are used
        self._before = [_state(file) for file in self._files]

    def check(self) -> None:
        """Raises UserError where somebody has written to a file."""
        for file, before in zip(self._files, self._before, strict=True):
            if _state(file) != before:
                raise UserError(
                    f"{file.name}: was written to while it was in use. No result was written; restore the file, and "
                    "start anew: overwrite=true"
                )


def _state(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that they survive a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # it names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


def check_folder(path: Path, key: str) -> None:
    """Raises UserError where `path`, the value of `key`, is a file, or where nothing can have such a path."""
    try:
        is_folder = S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return  # it may be made, or is refused where it is made
    except (OSError, ValueError) as error:  # ValueError: a NUL
        said = reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: cannot be used: {said}; choose another {key}=") from error
    if not is_folder:
        raise UserError(f"{path}: is a file; {key}= names a folder, choose another one")


def folder_name(name: str) -> str:
    """Returns a name that one folder can have, for a name from a file or a config, which may look like a path."""
    name = re.sub(r"[/\0]", "_", name)
    return name if name.strip(".") else f"_{name}"


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, and return it. Raises UserError where it cannot be made or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{path}: is a file, and no folder; name another one") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be made: {reason(error, path)}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: not writable")
    return path


@contextmanager
def explain_full_shm(num_workers: int) -> Iterator[None]:
    """Turn the error of a full /dev/shm into a UserError with a remedy. Containers often have only 64 MB there."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename or not num_workers:
            raise
        raise UserError(
            f"/dev/shm is full, through which {num_workers} worker processes are started: set num_workers=0, "
            "or give the container more of it (docker run --shm-size=1g)"
        ) from error
