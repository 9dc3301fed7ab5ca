"""The error that a user sees, and text for people: safe for a terminal, the system's errors and durations in words."""

import errno
import os
from pathlib import Path
from typing import Final

#: An error of the machine and not of the program -> what helps against it.
_REMEDIES: Final = {
    errno.ENOSPC: "",
    errno.EDQUOT: "remove files, or ask for a larger quota",
    errno.EFBIG: "",
    errno.EROFS: "make the file system writable, or name a folder elsewhere",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "its links lead in a circle; name another place",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "the system has too many files open; end other programs",
    errno.EIO: "look after the disk, or name a folder elsewhere",
    errno.ESTALE: "the network file system has lost it; mount it again",
    errno.ENOTCONN: "the network file system is gone; mount it again",
}


class UserError(Exception):
    """A mistake in the input, the settings or a file. The command line prints its message alone and exits with 1."""


def printable(text: str) -> str:
    """Returns `text` with `?` for every control character, so that text from a file cannot control the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def duration(seconds: float) -> str:
    """Returns a time in words: `45 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1.5:
        return f"{seconds:.0f} s"
    if hours < 1.5:
        return f"{minutes:.0f} min"
    return f"{int(hours)} h {minutes % 60:.0f} min" if days < 2 else f"{int(days)} d {hours % 24:.0f} h"


def reason(error: OSError, path: Path | None = None) -> str:
    """Returns in words what the system refused for `path`, and what helps, if that is known."""
    text = error.strerror or str(error)
    if error.errno == errno.ENOSPC and path is not None and _has_no_inode(path):
        text, remedy = "No inode left on device", "remove files there, of which df -i shows the number"
    else:
        remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{text}; {remedy}" if remedy else text


def refusal(error: BaseException) -> str:
    """Returns in words what the system refused and for which file; "" where the error is not the machine's."""
    if not isinstance(error, OSError) or error.errno not in _REMEDIES or not isinstance(error.filename, str):
        return ""
    return f"{error.filename}: {reason(error, Path(error.filename))}"


def _has_no_inode(path: Path) -> bool:
    """Returns whether the file system around a path has room, but none for another file."""
    try:
        system = os.statvfs(next(folder for folder in (path, *path.parents) if folder.exists()))
    except (OSError, StopIteration):
        return False
    return system.f_files > 0 and not system.f_favail and system.f_bavail > 0
