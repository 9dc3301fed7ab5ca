"""From probabilities to the classes that they speak for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Joins the classes of a row that is of several.
SEPARATOR = "|"
#: A class whose probability reaches this is one of a row's, where a row may be of several.
LEAST = 0.5


def chosen(probabilities: npt.NDArray[np.floating], *, multi_label: bool) -> npt.NDArray[np.bool_]:
    """The most probable class of each row [N, K], or of a multi-label model all of LEAST and more: bool [N, K]."""
    if multi_label:
        return probabilities >= LEAST
    classes: npt.NDArray[np.bool_] = np.zeros(probabilities.shape, np.bool_)
    if len(probabilities):
        classes[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return classes


def names(classes: npt.NDArray[np.bool_], labels: Sequence[str]) -> list[str]:
    """Each row's classes [N, K] as text, joined by SEPARATOR."""
    if len(classes) and (classes.sum(axis=1) == 1).all():
        said: list[str] = np.array(labels, np.object_)[classes.argmax(axis=1)].tolist()
        return said
    rows: list[list[str]] = [[] for _ in range(len(classes))]
    for row, number in zip(*(where.tolist() for where in np.nonzero(classes)), strict=True):
        rows[row].append(labels[number])
    return [SEPARATOR.join(row) for row in rows]
