"""Defines what an input is: one thing that an architecture reads of a statement."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.errors import UserError
from stonkgs.source.base import shortened
from stonkgs.statement import Statement

#: What a batch holds of one input. The input chooses the names. Workers send these through a pipe.
Arrays = Mapping[str, npt.NDArray[Any]]
#: What a network reads of one input. The input chooses the names.
Tensors = Mapping[str, Tensor]


class Input(ABC):
    """One thing that an architecture reads of a statement, such as its text or its walks.

    There are three steps. `encode` turns statements into values and `collate` puts the values of a batch into arrays;
    both run in DataLoader workers, so an input must be picklable and open files on first use. `tensors` turns the
    arrays into what the network reads; it runs in the process that has the model.
    """

    #: the keys of `Statement.extra` that it reads
    columns: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, statements: Sequence[Statement]) -> Sequence[Any]:
        """Returns one value for each statement."""

    @abstractmethod
    def collate(self, values: Sequence[Any]) -> Arrays:
        """Put the values of a batch (one or more) into arrays. Equal values are best held once."""

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        """Returns what the network reads, on the device and (floats) in the dtype of `weight`. By default nothing."""
        return {}

    def order(self, value: Any) -> Any:
        """Returns a key by which rows are sorted before they are cut into batches. By default all keys are equal.

        Only the first input of an architecture is asked. Texts use it to put equal lengths into one batch.
        """
        return ()


def check_columns(reads: Mapping[str, str], names: Sequence[str], where: str) -> None:
    """Raises UserError if `where`, which has the columns `names`, lacks a column that a model reads.

    `reads` are these columns, and the key that names each; see `Network.columns`.
    """
    for column, key in reads.items():
        if column not in names:
            raise UserError(
                f"{where}: no column {column!r}, which the model reads; there are {shortened(list(names))}. "
                f"Name yours with {key}="
            )


def integers(arrays: Arrays, names: Sequence[str], weight: Tensor) -> dict[str, Tensor]:
    """Returns the named arrays as int64, torch's type for indexes, on the device of `weight`."""
    return {name: torch.from_numpy(arrays[name].astype(np.int64)).to(weight.device) for name in names}
