"""Groups of sorted rows come to one entry each, wherever the stream of them is cut."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.aggregate.reduce import Groups, merge_groups

TEXT = st.sampled_from(["a", "b", "β", None])
#: A row: two keys, what is added up, what is passed on. Added up are whole numbers, whose sums are exact.
ROWS = st.lists(st.tuples(st.integers(0, 2), TEXT, st.integers(0, 9), TEXT, TEXT, TEXT), min_size=1, max_size=40)


def groups(rows: list[tuple[Any, ...]], *, pair: bool) -> Groups:
    first, second, number, *passed = zip(*rows, strict=True)
    keys = (pa.array(first, pa.int64()), pa.array(second, pa.string()))
    added = np.array([np.ones(len(rows)), number], np.float64)
    return Groups(keys, added, added[1:], tuple(pa.array(column, pa.string()) for column in passed), pair)


def entries(found: Groups) -> list[tuple[Any, ...]]:
    columns = [*found.keys, *map(pa.array, found.added), *map(pa.array, found.largest), *found.smallest]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def last(value: Any) -> tuple[bool, Any]:
    return value is None, value or ""


def plain(rows: list[tuple[Any, ...]], *, pair: bool) -> list[tuple[Any, ...]]:
    """The same by lists. A key that is null agrees with nothing, itself neither."""
    groups: dict[Any, list[tuple[Any, ...]]] = {}
    for number, row in enumerate(rows):
        groups.setdefault((*row[:2], number if row[1] is None else None), []).append(row)
    found = []
    for key, group in groups.items():
        numbers = [row[2] for row in group]
        least = [min((row[column] for row in group), key=last) for column in (3, 4, 5)]
        if pair:
            least[:2] = min(([row[3], row[4]] for row in group), key=lambda both: [last(value) for value in both])
        found.append((*key[:2], len(group), sum(numbers), max(numbers), *least))
    return found


@settings(deadline=None)
@given(rows=ROWS, cuts=st.sets(st.integers(1, 39)), pair=st.booleans())
def test_any_runs_in_any_pieces(rows: list[tuple[Any, ...]], cuts: set[int], pair: bool) -> None:
    rows.sort(key=lambda row: (row[0], last(row[1])))
    ends = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    pieces = [groups(rows[start:stop], pair=pair) for start, stop in pairwise(ends)]
    found = [*merge_groups(pieces)]
    assert all(len(piece) for piece in found)
    assert [entry for piece in found for entry in entries(piece)] == plain(rows, pair=pair)


def test_nothing_comes_of_nothing() -> None:
    assert not list(merge_groups([]))
