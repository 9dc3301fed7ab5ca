"""What the methods share about vectors: their scale, and arithmetic that gives equal bits for any number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from stonkgs.errors import UserError

#: How many vectors are handled at a time.
BLOCK = 65536


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the `with` block: the order in which it adds up depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mean_square(vectors: NDArray[np.float32]) -> float:
    """Returns the mean square of the numbers of all vectors that are not zeros; 0 if there are none."""
    total, rows = 0.0, 0
    for start in range(0, len(vectors), BLOCK):
        squares = np.square(vectors[start : start + BLOCK], dtype=np.float64).sum(axis=1)
        total, rows = total + float(squares.sum()), rows + int(np.count_nonzero(squares))
    return total / (rows * vectors.shape[1]) if rows else 0.0


def scale(vectors: NDArray[np.float32]) -> None:
    """Scale vectors [N, D] in place by one factor, to a mean square of 1. Raises UserError if one is not finite.

    A model adds positions to them and reads them beside the last hidden states of a text backbone, which a LayerNorm
    has left at about that size; much smaller vectors would drown.
    """
    found = mean_square(vectors)
    if not np.isfinite(found):
        raise UserError("the learned vectors are not finite numbers; lower method.learning_rate, or give another seed")
    if found:
        for start in range(0, len(vectors), BLOCK):
            vectors[start : start + BLOCK] *= np.float32(found**-0.5)


def normalise(vectors: NDArray[np.float32]) -> None:
    """Scale each of the vectors [N, D] in place to a mean square of 1, as `scale` does with all; zeros stay zeros."""
    scale(vectors)  # refuses what is not finite
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        sizes = np.sqrt(np.square(block, dtype=np.float64).mean(axis=1, keepdims=True))
        block /= np.where(sizes > 0, sizes, 1).astype(np.float32)
