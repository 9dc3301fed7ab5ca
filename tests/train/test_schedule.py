"""Schedules: every row in one step, every step in one lap, wherever a training stands."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.train.schedule import Schedule

EACH = settings(deadline=None)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    counts = draw(st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any))
    small = st.integers(1, 5)
    return Schedule(
        counts=np.array(counts, np.int64),
        epochs=draw(st.integers(1, 2)),
        size=draw(st.integers(1, 9)),
        world=draw(st.integers(1, 4)),
        laps=draw(small),
        accumulate=draw(small),
        balanced=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


@EACH
@given(schedules(), st.integers(0, 5))
def test_the_steps_of_an_epoch_take_each_row_once(schedule: Schedule, epoch: int) -> None:
    bounds = [schedule.bounds(epoch, step) for step in range(schedule.steps)]
    assert [first for first, _ in bounds] == [0, *(last for _, last in bounds[:-1])]
    assert bounds[-1][1] == schedule.sampled_rows(epoch) == schedule.rows
    sizes = [last - first for first, last in bounds]
    assert max(sizes) - min(sizes) <= 1
    if schedule.size > 1 or schedule.rows % schedule.world == 0:
        assert max(sizes) <= schedule.size * schedule.world
        assert schedule.steps == -(-schedule.rows // (schedule.size * schedule.world)), "no more steps than rows need"
    else:
        assert max(sizes) < 2 * schedule.world or schedule.rows < schedule.world


@EACH
@given(schedules())
def test_no_process_is_without_rows(schedule: Schedule) -> None:
    """The network takes no batch of none; fewer rows than processes are refused elsewhere."""
    least = min(last - first for first, last in (schedule.bounds(0, step) for step in range(schedule.steps)))
    assert least >= min(schedule.world, schedule.rows)


@EACH
@given(schedules())
def test_the_laps_of_an_epoch_take_each_step_once(schedule: Schedule) -> None:
    bounds = schedule.lap_bounds()
    assert len(bounds) == min(schedule.laps, schedule.steps)
    assert [step for start, stop in bounds for step in range(start, stop)] == list(range(schedule.steps))
    assert all(start < stop for start, stop in bounds)


@EACH
@given(schedules())
def test_a_walk_through_all_steps(schedule: Schedule) -> None:
    """Laps, epochs, and steps of the optimizer as a loop would count them, beside what the schedule says."""
    left, gathered, stepped = schedule.epochs * len(schedule.lap_bounds()), 0, 0
    done = 0
    for epoch in range(schedule.epochs):
        for first, end in schedule.lap_bounds():
            for step in range(first, end):
                assert schedule.lap(done) == (epoch, step, end)
                assert schedule.laps_left(done) == left
                assert schedule.is_boundary(done) == (gathered == 0)
                gathered += 1
                if gathered == schedule.accumulate or step == end - 1:
                    gathered, stepped = 0, stepped + 1
                done += 1
            left -= 1
            assert schedule.laps_left(done) == left, "a lap is over with its last step"
    assert (done, left) == (schedule.epochs * schedule.steps, 0)
    assert stepped == schedule.optimizer_steps


@EACH
@given(schedules(), st.integers(1, 12))
def test_checkpoints_come_within_an_epoch_however_gradients_are_accumulated(schedule: Schedule, every: int) -> None:
    """At boundaries that need not be multiples of `every`, about so often, and not at each of them."""
    saved = 0
    for done in range(1, schedule.epochs * schedule.steps):
        if schedule.is_lap_end(done):
            saved = done
        elif schedule.is_boundary(done):
            due = schedule.is_due(done, every)
            assert due or done - saved < every + schedule.accumulate
            if schedule.accumulate == 1:
                assert due == (done % every == 0)
            saved = done if due else saved


@EACH
@given(schedules(), st.integers(0, 5))
def test_a_balanced_epoch_has_each_class_equally_often(schedule: Schedule, epoch: int) -> None:
    offsets = np.array(schedule.offsets(epoch))
    assert ((offsets >= 0) & (offsets < 1)).all()
    assert offsets.tolist() == schedule.offsets(epoch)
    copies = np.floor(schedule.counts * schedule.copies() + offsets)[schedule.counts > 0]
    if schedule.balanced:
        assert copies.max() - copies.min() <= 1
        assert copies.sum() == schedule.rows
    else:
        assert copies.tolist() == schedule.counts[schedule.counts > 0].tolist()


def test_offsets_are_drawn_anew_and_evenly() -> None:
    schedule = Schedule(counts=np.array([5, 50, 500]), epochs=1, size=4, balanced=True)
    drawn = np.array([schedule.offsets(epoch) for epoch in range(600)])
    assert len({tuple(row) for row in drawn.tolist()}) > 590
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), 12**-0.5, atol=0.03)
    other = Schedule(counts=schedule.counts, epochs=1, size=4, balanced=True, seed=1)
    assert other.offsets(0) != schedule.offsets(0)


def test_one_step_where_there_are_few_rows() -> None:
    schedule = Schedule(counts=np.array([3]), epochs=2, size=32, laps=4)
    assert (schedule.steps, schedule.lap_bounds()) == (1, [(0, 1)])
