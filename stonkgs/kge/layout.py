"""Defines the file format of the KGE store (HDF5), and checks a file before anything in it is used."""

import mmap
import os
import re
import shlex
from collections.abc import Mapping
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from stonkgs.errors import UserError

#: How a store comes into being, for people who have none.
MADE = "a KGE store is made by 'stonkgs kge build', or of your own graph by 'stonkgs kge train'"

FORMAT = "stonkgs-kge"
VERSION = 2
#: Node numbers are int32.
MAX_NODES = 2**31 - 1

#: Dataset -> the dtypes it may have. There are N nodes, D floats per vector, L nodes per walk and B bytes of names.
DTYPES = {
    "vectors": ("<f4", "<f2"),  # [N, D]
    "walks": ("<i4",),  # [N, L], node numbers; -1 if a node has no walk; L is 0 in a store without walks
    "names": ("|u1",),  # [B], all names in UTF-8, one after the other
    "name_offsets": ("<i8",),  # [N + 1], where each name begins in `names`
    "hashes": ("<u8",),  # [N], hashes of the names, sorted
    "hash_order": ("<i4",),  # [N], the node of each hash
    "identifier_hashes": ("<u8",),  # [N], hashes of the names' identifier forms, sorted
    "identifier_order": ("<i4",),  # [N], the node of each of these
}

StoreArrays = Mapping[str, NDArray[Any]]


def shapes(*, nodes: int, dimension: int, walk_length: int, name_bytes: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every dataset of a store."""
    return {
        "vectors": (nodes, dimension),
        "walks": (nodes, walk_length),
        "names": (name_bytes,),
        "name_offsets": (nodes + 1,),
        "hashes": (nodes,),
        "hash_order": (nodes,),
        "identifier_hashes": (nodes,),
        "identifier_order": (nodes,),
    }


def name_hash(name: bytes) -> int:
    """Returns the 64-bit hash by which the indexes are sorted: BLAKE2b with a digest of 8 bytes."""
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


class StoreHeader(NamedTuple):
    """The attributes of a store, and its size in bytes. `origin` is JSON and names the files it was built from."""

    version: int
    digest: str
    origin: str
    size: int


class ArrayLocation(NamedTuple):
    """Where a dataset's bytes begin in the file, and how to read them."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


def damaged(path: str, what: str) -> UserError:
    """Returns the error for a store whose content contradicts itself."""
    return UserError(
        f"{path}: the KGE store is damaged: {what}; copy it again, or make it anew with 'stonkgs kge build' or "
        "'stonkgs kge train'"
    )


def reason(error: Exception) -> str:
    """Returns an exception's message in one line. HDF5 writes its internal state on several."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]


def open_store(path: str) -> tuple[StoreHeader, StoreArrays]:
    """Check a store and map its arrays read-only. Raises UserError for anything but a sound store.

    HDF5 tells where the data begin and is closed again, because its handles give wrong data after a fork. HDF5 and the
    map share one file descriptor, so a store that replaces this one meanwhile cannot mix with it.
    """
    _check_regular(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            with _open_hdf5(path, file) as store:
                header, locations = Inspection(path, store, size).result()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path}: {reason(error)}") from error
    except (RuntimeError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:  # raised by h5py
        raise damaged(path, reason(error)) from error
    return header, {
        name: np.ndarray(at.shape, at.dtype, buffer=mapped, offset=at.offset) for name, at in locations.items()
    }


def _check_regular(path: str) -> None:
    if not Path(path).exists():
        raise UserError(f"{path}: no such file; {MADE}")
    if not Path(path).is_file():
        kind = "a directory; name the KGE store in it" if Path(path).is_dir() else "no regular file; copy it to one"
        raise UserError(f"{path}: is {kind}")


def _open_hdf5(path: str, file: Any) -> Any:
    try:
        return h5py.File(file, "r")
    except OSError as error:
        if h5py.is_hdf5(path):
            raise damaged(path, f"it is truncated or unreadable ({reason(error)})") from error
        raise UserError(f"{path}: not an HDF5 file; {MADE}") from error


class Inspection:
    """Checks one open HDF5 file. The file may be hostile: no link is followed, and no value is used unchecked."""

    def __init__(self, path: str, file: Any, size: int) -> None:
        self.path, self.file, self.size = path, file, size

    def result(self) -> tuple[StoreHeader, dict[str, ArrayLocation]]:
        """Returns the header and the location of each dataset. Raises UserError if a check fails."""
        header = self.header()
        datasets = {name: self.dataset(name) for name in DTYPES}
        self.check_shapes({name: tuple(dataset.shape) for name, dataset in datasets.items()})
        return header, {name: self.location(name, dataset) for name, dataset in datasets.items()}

    def header(self) -> StoreHeader:
        """Returns the checked attributes. Raises UserError if this is no store of this version."""
        if self.attribute("format") != FORMAT:
            raise UserError(f"{self.path}: an HDF5 file, but not a KGE store; {MADE}")
        if (version := self.attribute("version")) != VERSION:
            raise UserError(
                f"{self.path}: version {version} of the KGE store, and this stonkgs reads version {VERSION}: "
                "make it anew with 'stonkgs kge build' or 'stonkgs kge train', or use the stonkgs that wrote it"
            )
        digest, origin = self.attribute("digest"), self.attribute("origin")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise damaged(self.path, "its attribute 'digest' is not a SHA-256")
        return StoreHeader(VERSION, digest, origin if isinstance(origin, str) else "{}", self.size)

    def attribute(self, name: str) -> str | int | None:
        """Returns a scalar attribute, else None. Texts of variable length are ignored: damaged ones crash HDF5."""
        if name not in self.file.attrs:
            return None
        attribute = self.file.attrs.get_id(name)
        kind = attribute.get_type()
        text = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()
        if attribute.shape != () or not (text or isinstance(kind, h5py.h5t.TypeIntegerID)):
            return None
        value = self.file.attrs[name]
        return value.decode(errors="replace") if text else int(value)

    def dataset(self, name: str) -> Any:
        """Returns a dataset that is contiguous in this file. Raises UserError for any other."""
        key = name.encode()
        if not self.file.id.links.exists(key):
            raise UserError(f"{self.path}: the KGE store lacks the dataset '{name}'; rebuild it")
        if self.file.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise UserError(
                f"{self.path}: '{name}' is a link to another place, and links are not followed; "
                "copy the dataset itself into the file"
            )
        dataset = h5py.h5o.open(self.file.id, key)
        if not isinstance(dataset, h5py.h5d.DatasetID):
            raise UserError(f"{self.path}: '{name}' is not a dataset; rebuild the KGE store")
        # The layout is checked first: asking a virtual dataset for its shape may open other files.
        if problem := _layout_problem(dataset.get_create_plist()):
            raise UserError(f"{self.path}: dataset '{name}' {problem}; {self.repack()}")
        return dataset

    def check_shapes(self, found: dict[str, tuple[int, ...]]) -> None:
        """Raises UserError unless all shapes agree with N, D, L and B."""
        for name, rank in (("vectors", 2), ("walks", 2), ("names", 1)):
            if len(found[name]) != rank:
                raise damaged(self.path, f"'{name}' has {len(found[name])} dimensions, not {rank}")
        (nodes, dimension), walk_length, (name_bytes,) = found["vectors"], found["walks"][1], found["names"]
        if not (nodes and dimension):
            raise UserError(f"{self.path}: the KGE store is empty; rebuild it from a graph that has nodes")
        expected = shapes(nodes=nodes, dimension=dimension, walk_length=walk_length, name_bytes=name_bytes)
        for name, shape in expected.items():
            if found[name] != shape:
                raise damaged(self.path, f"'{name}' is {list(found[name])}, where 'vectors' asks for {list(shape)}")
        for name, size in (("nodes", nodes), ("dimension", dimension), ("walk_length", walk_length)):
            if self.attribute(name) != size:
                raise damaged(self.path, f"its attribute '{name}' is {self.attribute(name)}, its data say {size}")

    def location(self, name: str, dataset: Any) -> ArrayLocation:
        """Returns where a dataset is. Raises UserError if it is incomplete or has a dtype that the format lacks."""
        dtype = self.dtype(name, dataset)
        needed = prod(dataset.shape) * np.dtype(dtype).itemsize
        offset = dataset.get_offset()
        if offset is None and needed:
            raise UserError(f"{self.path}: dataset '{name}' was never written; rebuild the KGE store")
        if (offset or 0) + needed > self.size:
            raise damaged(self.path, f"'{name}' should have {needed} bytes, and the file ends before")
        return ArrayLocation(offset or 0, tuple(dataset.shape), dtype)

    def dtype(self, name: str, dataset: Any) -> str:
        """Returns a dataset's dtype. Raises UserError unless the format admits it."""
        kind = dataset.get_type()
        for dtype in DTYPES[name]:
            if kind.equal(h5py.h5t.py_create(np.dtype(dtype))):
                return dtype
        raise UserError(
            f"{self.path}: dataset '{name}' is {dataset.dtype.str}, not plain {' or '.join(DTYPES[name])}; "
            "rebuild the KGE store"
        )

    def repack(self) -> str:
        """Returns the remedy for a dataset that is stored in another way."""
        return f"it must lie in the file in one piece: h5repack -l CONTI -f NONE {shlex.quote(self.path)} new.h5"


def _layout_problem(properties: Any) -> str | None:
    """Returns why a dataset is not plain contiguous data, in words; None if it is."""
    layout = properties.get_layout()
    if layout == h5py.h5d.CHUNKED:
        return "is compressed" if properties.get_nfilters() else "is chunked"
    if layout == h5py.h5d.COMPACT:
        return "is compact, kept in its header"
    if layout == h5py.h5d.VIRTUAL:
        return "is virtual, its data are in other datasets"
    if layout != h5py.h5d.CONTIGUOUS:
        return "has an unknown layout"
    return "keeps its data in external files" if properties.get_external_count() else None
