"""Splits are dealt once each, and a plan is a small table."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stonkgs.source.split import Plan, Split, deal, ranges


@given(st.integers(0, 50), st.integers(1, 5), st.integers(1, 5))
def test_every_split_is_dealt_to_one_worker_in_rising_order(count: int, world: int, workers: int) -> None:
    dealt = [
        list(deal(count, rank=rank, world=world, worker=worker, workers=workers))
        for rank in range(world)
        for worker in range(workers)
    ]
    assert sorted(number for numbers in dealt for number in numbers) == list(range(count))
    assert all(numbers == sorted(numbers) for numbers in dealt)


def test_a_plan_is_a_sequence_of_splits() -> None:
    plan = Plan(("a", "b"), pa.schema([]), np.array([0, 1]), np.array([0, 3]), np.array([5, 9]))
    assert list(plan) == [Split(0, "a", 0, 5), Split(1, "b", 3, 9)]
    assert list(pickle.loads(pickle.dumps(plan))) == list(plan)
    for number in (2, -1):
        with pytest.raises(IndexError):
            plan[number]


@given(st.integers(0, 9), st.integers(0, 40), st.integers(1, 50))
def test_ranges_cut_a_stretch_without_a_gap(start: int, length: int, step: int) -> None:
    cut = ranges(start, start + length, step).tolist()
    assert [start, *(stop for _, stop in cut)] == [*(begin for begin, _ in cut), start + length]
    assert all(0 < stop - begin <= step for begin, stop in cut) or (length == 0 and len(cut) == 1)


def test_a_terabyte_is_cut_at_once() -> None:
    assert len(ranges(0, 10**12, 80_000)) == 12_500_000
