"""The size and the SHA-256 of a file, computed while it is written, so that later damage is noticed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

#: Bytes that are put together before they are written.
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file was like when it was complete."""

    #: bytes
    size: int
    #: as hex digits, like `sha256sum` prints it
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Reads a file and returns its stamp. Raises OSError."""
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return cls(file.tell(), digest.hexdigest())

    @classmethod
    def of_all(cls, stamps: Iterable[Self]) -> Self:
        """Returns one stamp for several files: their sizes added up, and the SHA-256 of their digests in order."""
        digest, size = hashlib.sha256(), 0
        for stamp in stamps:
            digest.update(stamp.sha256.encode())
            size += stamp.size
        return cls(size, digest.hexdigest())

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Returns the stamp that dataclasses.asdict made `values` of. Raises ValueError for anything else."""
        if not isinstance(values, dict) or {key: type(value) for key, value in values.items()} != {
            "size": int,
            "sha256": str,
        }:
            raise ValueError("no stamp of a file")
        return cls(**values)

    def fits(self, path: Path) -> bool:
        """Returns whether a file is still the same. It is read only where its size is right."""
        try:
            return path.stat().st_size == self.size and Stamp.of(path) == self
        except OSError:
            return False


class Stamped:
    """Passes all that is written on to a file, and stamps it: so nothing has to be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._digest, self._size = hashlib.sha256(), 0

    @property
    def stamp(self) -> Stamp:
        """Returns the stamp of what was written so far."""
        return Stamp(self._size, self._digest.hexdigest())

    def write(self, data: Any, /) -> int:
        """Write bytes to the file."""
        self._digest.update(data)
        size = memoryview(data).nbytes
        self._size += size
        self.file.write(data)
        return size

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Write many pieces: together, because a call for each would cost more than the digest."""
        held: list[bytes] = []
        size = 0
        for line in lines:
            held.append(line)
            size += len(line)
            if size >= BLOCK:
                self.write(b"".join(held))
                held, size = [], 0
        self.write(b"".join(held))

    # What pyarrow asks of a file that it writes to.

    def tell(self) -> int:
        """Returns the number of bytes written."""
        return self._size

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()

    def close(self) -> None:
        """Leave the file open: who has opened it closes it."""

    @property
    def closed(self) -> bool:
        return self.file.closed

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
