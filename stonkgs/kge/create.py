"""Creates the HDF5 file of a KGE store and fills it through a memory map."""

import mmap
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.index import Scratch, write_indexes
from stonkgs.kge.layout import DTYPES, FORMAT, VERSION, shapes

PAGE = 4096
#: How many bytes are hashed at a time.
CHUNK = 1 << 20

#: The datasets that a store's digest covers. The indexes follow from the names.
DIGESTED = ("names", "name_offsets", "vectors", "walks")


class Draft:
    """A store that is being written. `arrays` are writable memory maps of its datasets.

    Fill the names, offsets, vectors and walks, call `index` once the names are there, then `seal`, and rename the file.
    `half` stores the vectors as float16.
    """

    def __init__(
        self, *, path: str, nodes: int, dimension: int, walk_length: int, name_bytes: int, half: bool = False
    ) -> None:
        self.path = path
        self._sizes = {"nodes": nodes, "dimension": dimension, "walk_length": walk_length}
        expected = shapes(**self._sizes, name_bytes=name_bytes)
        full, narrow = DTYPES["vectors"]
        dtypes = {name: kinds[0] for name, kinds in DTYPES.items()} | {"vectors": narrow if half else full}
        offsets = _allocate(path, expected, dtypes)
        with open(path, "r+b") as file:
            _reserve(file.fileno())
            self._map = mmap.mmap(file.fileno(), 0)
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.ndarray(shape, dtypes[name], buffer=self._map, offset=offsets[name])
            for name, shape in expected.items()
        }

    def release(self) -> None:
        """Release the pages touched so far. The page cache keeps their content, and this process stays small."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def index(self) -> None:
        """Fill the indexes from the names."""
        with Scratch(str(Path(self.path).absolute().parent)) as scratch:
            write_indexes(self.arrays, scratch, self.release)

    def seal(self, origin: str) -> str:
        """Write the attributes and flush everything to the disk. `origin` is JSON. Returns the digest."""
        digest = self._digest()
        self._map.flush()
        with h5py.File(self.path, "r+", locking=False) as file:
            # Texts of fixed length: a reader need not follow pointers inside a file that it does not trust.
            texts = {"format": FORMAT, "digest": digest, "origin": origin}
            file.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()})
            file.attrs.update({"version": VERSION, **self._sizes})
        with open(self.path, "rb") as written:
            os.fsync(written.fileno())
        return digest

    def _digest(self) -> str:
        digest = sha256()
        for name in DIGESTED:
            array = self.arrays[name]
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            flat = array.reshape(-1).view(np.uint8)
            for start in range(0, len(flat), CHUNK):
                digest.update(flat[start : start + CHUNK].data)
            self.release()
        return digest.hexdigest()


def _allocate(path: str, expected: dict[str, tuple[int, ...]], dtypes: dict[str, str]) -> dict[str, int]:
    """Create all datasets, contiguous and aligned to pages. Returns the offset of each in the file."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w", locking=False, alignment_threshold=1, alignment_interval=PAGE) as file:
        datasets = {
            name: h5py.h5d.create(
                file.id,
                name.encode(),
                h5py.h5t.py_create(np.dtype(dtypes[name])),
                h5py.h5s.create_simple(shape),
                dcpl=properties,
            )
            for name, shape in expected.items()
        }
        return {name: dataset.get_offset() or 0 for name, dataset in datasets.items()}


def _reserve(descriptor: int) -> None:
    # Writing to a map of a sparse file kills the process if the disk is full. Reserving the space raises OSError.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
