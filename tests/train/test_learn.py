"""The weights of classes in the loss."""

import numpy as np
import pytest

from stonkgs.protocol import TRAIN
from stonkgs.train.census import Census
from stonkgs.train.learn import balanced_weights
from stonkgs.train.task import Classes


def weights(counts: dict[str, int], rows: int, *, multi_label: bool) -> list[float]:
    classes = Classes(tuple(counts), multi_label, counts)
    counted = Census(classes, {TRAIN: counts}, {TRAIN: rows}, {}, np.zeros(1, np.int64))
    found: list[float] = balanced_weights(counted).tolist()
    return found


def test_in_a_multi_label_task_rows_with_and_without_a_class_weigh_the_same() -> None:
    counts = {"half": 5, "rare": 1, "most": 9, "never": 0, "always": 10}
    assert weights(counts, 10, multi_label=True) == pytest.approx([1, 9, 1 / 9, 0, 1])


def test_a_class_that_every_row_has_is_learned() -> None:
    """With a weight of 0 it would have no part in the loss, as it has no rows without it either."""
    assert weights({"a": 4, "b": 4}, 4, multi_label=True) == [1, 1]


def test_of_single_labels_all_classes_weigh_the_same() -> None:
    counts = {"a": 8, "b": 2, "never": 0}
    found = weights(counts, 10, multi_label=False)
    assert found[0] * 8 == found[1] * 2 == 5
    assert found[2] == 0
