"""Whether a column gives the class away."""

from itertools import product

import pytest

from stonkgs.train.leak import MOST_VALUES, explained


@pytest.mark.parametrize(
    ("pairs", "share"),
    [
        ([], 0.0),
        ([("a", 0)] * 5, 0.0),
        (list(product("ab", (0, 1))) * 3, 0.0),
        ([("a", 0), ("b", 1), ("c", 1)] * 4, 1.0),
        ([("a", 0)] * 90 + [("b", 1)] * 10, 1.0),
        ([("a", 0)] * 60 + [("b", 1)] * 30 + [("b", 0)] * 10, 20 / 30),
        ([("a", (0, 1)), ("b", (1,))] * 2, 1.0),
        ([(str(number), number % 2) for number in range(MOST_VALUES)], 1.0),
        ([(str(number), number % 2) for number in range(MOST_VALUES + 1)], 0.0),
    ],
)
def test_goodman_and_kruskals_lambda(pairs: list[tuple[str, int]], share: float) -> None:
    assert explained(pairs) == pytest.approx(share)
