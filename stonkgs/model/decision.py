"""Turns logits into probabilities, and probabilities into predicted classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stonkgs.source.fields import SEPARATOR

if TYPE_CHECKING:
    from torch import Tensor

#: Joins the classes of a row that has several, as in the input's columns.
CLASS_SEPARATOR = SEPARATOR
#: A multi-label model predicts each class whose probability is at least this.
THRESHOLD = 0.5


def probabilities(logits: "Tensor", *, multi_label: bool) -> "Tensor":
    """Returns probabilities [N, K] of logits [N, K]: a softmax, or for a multi-label model a sigmoid."""
    return logits.sigmoid() if multi_label else logits.softmax(dim=-1)


def predicted_classes(probabilities: npt.NDArray[np.floating], *, multi_label: bool) -> npt.NDArray[np.bool_]:
    """Returns which classes are predicted, bool [N, K], from probabilities [N, K].

    That is the most probable class of each row, or for a multi-label model all classes of THRESHOLD or more.
    """
    if multi_label:
        return probabilities >= THRESHOLD
    classes: npt.NDArray[np.bool_] = np.zeros(probabilities.shape, np.bool_)
    if len(probabilities):
        classes[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return classes


def class_names(classes: npt.NDArray[np.bool_], labels: Sequence[str]) -> list[str]:
    """Returns the names of each row's classes, bool [N, K], joined by CLASS_SEPARATOR."""
    if len(classes) and (classes.sum(axis=1) == 1).all():
        single: list[str] = np.array(labels, np.object_)[classes.argmax(axis=1)].tolist()
        return single
    rows: list[list[str]] = [[] for _ in range(len(classes))]
    for row, number in zip(*(where.tolist() for where in np.nonzero(classes)), strict=True):
        rows[row].append(labels[number])
    return [CLASS_SEPARATOR.join(row) for row in rows]
