"""What is computed for rows, and its columns: probabilities and a decision, or an embedding."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor, nn

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder
from stonkgs.model.decision import class_names, predicted_classes

#: The column of the predicted classes, and that of the embedding.
PREDICTION: Final = "prediction"
EMBEDDING: Final = "embedding"


class Answer(ABC):
    """Says what a run computes for each row, and which columns it becomes in the output."""

    #: names the result: `predictions.tsv`, `embeddings.parquet`
    name: ClassVar[str]
    #: the command that gives it
    command: ClassVar[str]
    #: class names in the order of the probabilities; empty where there are none
    labels: Sequence[str]
    #: whether a row may have several classes; None where there are none
    multi_label: bool | None

    @property
    @abstractmethod
    def fields(self) -> list[pa.Field]:
        """The output columns of an answer."""

    @abstractmethod
    def columns(self, outputs: npt.NDArray[np.float32]) -> list[pa.Array]:
        """Returns the columns `fields` of B rows from what the model gave, float32 [B, K] or [B, H]."""

    def counts(self, outputs: npt.NDArray[np.float32]) -> dict[str, int]:
        """Returns for each class how many of B rows are predicted to have it."""
        return {}


@dataclass(frozen=True)
class Probabilities(Answer):
    """A probability for each class, and the predicted class or classes."""

    name, command = "predictions", "predict"
    labels: Sequence[str]
    multi_label: bool = False

    @property
    def fields(self) -> list[pa.Field]:
        """A column of float32 for each class, and the prediction."""
        return [*(pa.field(label, pa.float32()) for label in self.labels), pa.field(PREDICTION, pa.string())]

    def columns(self, outputs: npt.NDArray[np.float32]) -> list[pa.Array]:
        """Returns the columns of probabilities, float32 [B, K], and the names of the predicted classes."""
        predicted = class_names(predicted_classes(outputs, multi_label=self.multi_label), self.labels)
        return [*(pa.array(values, pa.float32()) for values in outputs.T), pa.array(predicted, pa.string())]

    def counts(self, outputs: npt.NDArray[np.float32]) -> dict[str, int]:
        """Returns for each class how many of B rows are predicted to have it."""
        classes = predicted_classes(outputs, multi_label=self.multi_label)
        return dict(zip(self.labels, classes.sum(axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class Embeddings(Answer):
    """A vector."""

    name, command = "embeddings", "embed"
    #: H, the length of a vector
    dimension: int
    labels: Sequence[str] = field(default=(), init=False)
    multi_label: None = field(default=None, init=False)

    @property
    def fields(self) -> list[pa.Field]:
        """A column of lists of H numbers, float32."""
        return [pa.field(EMBEDDING, pa.list_(pa.float32(), self.dimension))]

    def columns(self, outputs: npt.NDArray[np.float32]) -> list[pa.Array]:
        """Returns vectors, float32 [B, H], as one column."""
        values = pa.array(np.ascontiguousarray(outputs).reshape(-1), pa.float32())
        return [pa.FixedSizeListArray.from_arrays(values, self.dimension)]


class Responder(ABC):
    """Turns batches into answers. A row's answer must not depend on the other rows of its batch."""

    @property
    @abstractmethod
    def answer(self) -> Answer:
        """What it computes for each row."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of the model: responders of one kind and one digest give equal answers."""

    @property
    def reads(self) -> Mapping[str, str]:
        """The columns of rows that it reads beside source, target and evidence, and the key that names each."""
        return {}

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
        """Returns the encoder that makes this responder's examples. It is pickled for worker processes."""

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Returns what `answer` makes columns of, float32 [B, K] or [B, H], on the responder's device."""
