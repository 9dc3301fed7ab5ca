"""Recognises a changed file in a moment, without reading all of it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stonkgs.source.file import file_errors


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
            stat = Path(path).stat()
            digest = hashlib.sha256(file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
        return cls(str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, digest.hexdigest())

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
