"""Defines Rater: the interface of everything that turns batches into probabilities."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.model.answer import Probabilities, Responder


class Rater(Responder):
    """Turns batches into probabilities, float32 [B, classes]."""

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
    def answer(self) -> Probabilities:
        """A probability for each class."""
        return Probabilities(self.labels, self.multi_label)

    def logits(self, batch: Batch) -> Tensor:
        """Returns what probabilities are made of before any temperature, float32 [B, classes], on the rater's device.

        Their softmax, or with `multi_label` their sigmoid, are the uncalibrated probabilities.
        """
        raise NotImplementedError(f"a {type(self).__name__} has no logits")
