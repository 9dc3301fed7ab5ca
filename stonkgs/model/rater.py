"""What rates rows: the contract that a Predictor, counted words, and any other source of probabilities keep."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder


class Rater(ABC):
    """Batch in, probabilities out. A row's probabilities do not depend on the other rows of its batch."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; none for what has not been fine-tuned."""

    @property
    @abstractmethod
    def multi_label(self) -> bool:
        """Whether a row may be of several classes, each with a probability of its own, or is of one."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of all that decides the probabilities: raters of one digest give the same, wherever they lie."""

    @property
    def module(self) -> nn.Module | None:
        """The part that an engine moves to its device; None where nothing has to be moved."""
        return None

    @abstractmethod
    def encoder(self) -> Encoder:
        """What turns statements into the examples that it reads. It travels to worker processes."""

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Probabilities, float32 [B, classes], on the rater's device."""
