"""What tells a file from another in a moment, without all of it being read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stonkgs.source.file import naming


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Size, time, and a hash of the ends of a file."""

    #: where it lies, which does not tell files apart: another machine may have it elsewhere
    path: str
    #: bytes
    size: int
    #: when it was last written
    mtime_ns: int
    #: a SHA-256 of its first and last MB
    ends: str

    @classmethod
    def of(cls, path: str) -> Self:
        """The fingerprint of a file; UserError where it cannot be read."""
        with naming(path), open(path, "rb") as file:
            stat = Path(path).stat()
            digest = hashlib.sha256(file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
        return cls(str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What `asdict` has told; ValueError where it is something else."""
        wanted = {"path": str, "size": int, "mtime_ns": int, "ends": str}
        if not isinstance(values, dict) or {key: type(value) for key, value in values.items()} != wanted:
            raise ValueError("no fingerprint of a file")
        return cls(**values)

    def difference(self, now: Self) -> str:
        """How another file differs, in words; nothing where it is the same one, wherever it lies."""
        if self.size != now.size:
            return f"{now.path} had {self.size:,} bytes, has {now.size:,}"
        if self.ends != now.ends:
            return f"{now.path} has another content"
        if self.mtime_ns != now.mtime_ns:
            return f"{now.path} was written at another time (cp -p keeps it)"
        return ""
