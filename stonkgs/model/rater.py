"""Defines Rater: the interface of everything that turns batches into probabilities."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder


class Rater(ABC):
    """Turns batches into probabilities. A row's probabilities must not depend on the other rows of its batch."""

    #: whether `logits` gives something
    has_logits: ClassVar[bool] = False

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; empty for a model that is not fine-tuned."""

    @property
    @abstractmethod
    def multi_label(self) -> bool:
        """Whether a row may have several classes, each with its own probability, or has exactly one."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of all that decides the probabilities: raters with equal digests give equal ones."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that must not be written to while it is used, because they are mapped into memory."""
        return ()

    @property
    def module(self) -> nn.Module | None:
        """The module that an engine moves to its device; None if there is nothing to move."""
        return None

    @abstractmethod
    def encoder(self) -> Encoder:
        """Returns the encoder that makes this rater's examples. It is pickled for worker processes."""

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Returns probabilities, float32 [B, classes], on the rater's device."""

    def logits(self, batch: Batch) -> Tensor:
        """Returns what probabilities are made of before any temperature, float32 [B, classes], on the rater's device.

        Their softmax, or with `multi_label` their sigmoid, are the uncalibrated probabilities.
        """
        raise NotImplementedError(f"a {type(self).__name__} has no logits")
