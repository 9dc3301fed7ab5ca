"""Describes a store for `stonkgs kge info`."""

import numpy as np
from numpy.typing import NDArray

from stonkgs.kge.layout import open_store


def store_info(path: str) -> dict[str, str]:
    """Returns label -> value. Reads the walks and one index; nothing else that grows with the graph."""
    header, arrays = open_store(path)
    vectors, walks = arrays["vectors"], arrays["walks"]
    return {
        "store": path,
        "version": str(header.version),
        "nodes": f"{len(vectors):,}",
        "dimension": str(vectors.shape[1]),
        "precision": vectors.dtype.name,
        "walk length": str(walks.shape[1]) if walks.size else "none: for models that read no walks",
        "without walk": f"{np.count_nonzero(walks[:, 0] < 0) if walks.size else len(walks):,} nodes",
        "identifiers": f"{_repeated(arrays['identifier_hashes']):,} are of several nodes, which only names tell apart",
        "size": f"{header.size / 1e6:,.1f} MB",
        "digest": header.digest,
        "origin": header.origin,
    }


def _repeated(hashes: NDArray[np.uint64]) -> int:
    """Returns how many values of a sorted array occur more than once."""
    same = hashes[1:] == hashes[:-1]
    return int(np.count_nonzero(same & np.diff(same, prepend=False)))
