"""What an architecture may ask of a statement: the contract of an input."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.statement import Statement

#: What a batch holds of one input, by names of the input's own. Passes through a worker's pipe.
Arrays = Mapping[str, npt.NDArray[Any]]
#: What a network reads of one input, by names of the input's own.
Tensors = Mapping[str, Tensor]


class Input(ABC):
    """One of the things that an architecture asks of a statement: its text, its walks.

    A value goes through three hands. `encode` makes it of a statement, and `collate` puts those of a batch into arrays;
    both run in the DataLoader's workers, so an input pickles, and opens its files on first use. `tensors` makes of the
    arrays what the network reads, just before it reads it, in the process that has the model.
    """

    @abstractmethod
    def encode(self, statements: Sequence[Statement]) -> Sequence[Any]:
        """A value a statement."""

    @abstractmethod
    def collate(self, values: Sequence[Any]) -> Arrays:
        """The values of a batch, one or more, put together; what is equal is best held once."""

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        """What the network reads, on the device of `weight`, its floats in that one's dtype; by default nothing."""
        return {}

    def order(self, value: Any) -> Any:
        """Where a row stands in its window before batches are cut from it; by default wherever it comes in the input.

        Rows are sorted by their first input, so that a batch's texts are of about one length.
        """
        return ()


def integers(arrays: Arrays, names: Sequence[str], weight: Tensor) -> dict[str, Tensor]:
    """The arrays of these names as int64, the type that torch takes for an index, on the device of `weight`."""
    return {name: torch.from_numpy(arrays[name].astype(np.int64)).to(weight.device) for name in names}
