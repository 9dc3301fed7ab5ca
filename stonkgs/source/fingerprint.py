"""Recognises a changed file in a moment, without reading all of it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from stonkgs.errors import UserError
from stonkgs.source.file import file_errors

#: Bytes at a file's start and at its end that are hashed.
END_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Size, time of writing, and a hash of the two ends of a file."""

    #: absolute path; not compared, as another machine may have the file elsewhere
    path: str
    #: bytes
    size: int
    #: time of the last write, in ns since 1970
    mtime_ns: int
    #: SHA-256 of the first and last MiB, as hex digits
    ends: str

    @classmethod
    def of(cls, path: str) -> Self:
        """Returns the fingerprint of a file. Raises UserError where it cannot be read."""
        with file_errors(path), open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            ends = _ends(file, stat.st_size)
        return cls(str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, ends)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Returns the fingerprint that dataclasses.asdict made `values` of. Raises ValueError for anything else."""
        wanted = {"path": str, "size": int, "mtime_ns": int, "ends": str}
        if not isinstance(values, dict) or {key: type(value) for key, value in values.items()} != wanted:
            raise ValueError("no fingerprint of a file")
        return cls(**values)

    def difference(self, now: Self) -> str:
        """Returns in words how the file `now` differs; "" where it is the same, at whatever path."""
        if self.path != now.path and (self.size, self.ends) != (now.size, now.ends):
            return f"the input was {self.path}, is {now.path}"
        if self.size != now.size:
            return f"{now.path} had {self.size:,} bytes, has {now.size:,}"
        if self.ends != now.ends:
            return f"{now.path} has another content"
        if self.mtime_ns != now.mtime_ns:
            return f"{now.path} was written at another time (cp -p keeps it)"
        return ""


@dataclass(frozen=True, slots=True)
class Watch:
    """An input file as this process has found it. It is looked at again while it is read, and before parts are joined.

    Reading takes hours, and somebody may write to the file meanwhile: then rows of two contents would be mixed.
    """

    #: as the source names it
    path: str
    fingerprint: Fingerprint
    #: time of the last change of the content, the name or the rights, in ns since 1970. Nobody can set it back, but a
    #: copy of the file has another one: so it is compared within a process only.
    changed_ns: int

    @classmethod
    def of(cls, path: str) -> Self:
        """Returns a file as it is now. Raises UserError where it cannot be read."""
        with file_errors(path):
            changed = Path(path).stat().st_ctime_ns  # taken first: what is written from now on is noticed
        return cls(path, Fingerprint.of(path), changed)

    def check(self, *, thorough: bool = False) -> int:
        """Returns how many bytes were appended since. Raises UserError where the file is no longer what it was.

        Where size and times are the same, the content is compared with `thorough` only.
        """
        was = self.fingerprint
        with file_errors(self.path):
            stat = Path(self.path).stat()
            same = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) == (was.size, was.mtime_ns, self.changed_ns)
            if same and not thorough:
                return 0
            with open(self.path, "rb") as file:
                ends = _ends(file, was.size)
        if stat.st_size < was.size:
            raise self._changed(f"it had {was.size:,} bytes, has {stat.st_size:,}")
        if ends != was.ends:
            raise self._changed("it has another content")
        if stat.st_size > was.size:
            return stat.st_size - was.size
        if stat.st_mtime_ns != was.mtime_ns:
            raise self._changed("it was written at another time")
        if not same:
            raise UserError(
                f"{self.path}: was touched while it was read: it was renamed, got other rights, or was written to and "
                "got its time back. If its content is the same, the same command continues; else start anew: "
                "overwrite=true"
            )
        return 0

    def check_grown(self, count: int, *, rows: bool) -> None:
        """Raises UserError where it matters that so many bytes were appended. `rows` says that they may be rows."""
        size = self.fingerprint.size
        if not rows:
            raise self._changed(f"it had {size:,} bytes, has {size + count:,}")
        with file_errors(self.path), open(self.path, "rb") as file:
            if not _ends_a_row(file, size):
                raise self._changed("its last row was still being written when the run began, and is longer now")

    def _changed(self, how: str) -> UserError:
        return UserError(
            f"{self.path}: was changed while it was read: {how}. No result was written; restore the file, and the same "
            "command continues, or start anew: overwrite=true"
        )


def _ends(file: BinaryIO, size: int) -> str:
    """Returns a SHA-256 of the first and the last bytes of a file, or of its first `size` bytes, as hex digits."""
    file.seek(0)
    digest = hashlib.sha256(file.read(min(END_BYTES, size)))
    start = max(0, size - END_BYTES)
    file.seek(start)
    digest.update(file.read(size - start))
    return digest.hexdigest()


def _ends_a_row(file: BinaryIO, size: int) -> bool:
    """Returns whether a line ends at this offset, or the file does."""
    file.seek(max(size - 1, 0))
    around = file.read(2 if size else 0)
    return len(around) < 2 or around[:1] == b"\n" or around[1:] in (b"\n", b"\r")
