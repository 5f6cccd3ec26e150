"""How far a job is, and how long the rest will take: the arithmetic by itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from service.job_stores import a_plan, recognising

from app.service.jobs.job import Plan, Progress, Step
from app.service.jobs.progress import MOST_BEFORE_THE_END, Pace, Tally, seconds_left


def measured(
    step: Step, duration: float | None, plans: Mapping[int, Plan], heard: Collection[tuple[int, int]]
) -> Progress:
    return Tally(plans, heard).progress(step, duration)


def test_nothing_is_done_before_anything_is_planned() -> None:
    assert measured("fetch", None, {}, ()) == Progress("fetch")
    assert measured("decode", 40.0, {}, ()) == Progress("decode", 40.0)
    assert measured("recognise", 40.0, {0: a_plan(4)}, ()) == Progress("recognise", 40.0, pieces=4)


def test_silence_is_done_with_the_piece_after_it_and_the_last_with_the_one_before() -> None:
    plan = replace(a_plan(4), duration=50.0)  # pieces end at 9, 19, 29, 39
    done = [measured("recognise", 50.0, {0: plan}, {(0, number)}).done for number in range(4)]
    assert done == pytest.approx([9.0, 10.0, 10.0, 21.0])


@given(some.sets(some.integers(0, 7), max_size=8))
def test_the_more_is_kept_the_more_is_done(numbers: set[int]) -> None:
    plan = a_plan(8)
    heard = {(0, number) for number in numbers}
    whole = measured("recognise", 80.0, {0: plan}, heard)
    assert whole.pieces_done == len(numbers)
    assert 0.0 <= whole.done <= 80.0
    for one in heard:
        assert measured("recognise", 80.0, {0: plan}, heard - {one}).done < whole.done
    if len(numbers) == 8:
        assert whole.done == pytest.approx(80.0)


def test_all_pieces_are_not_all_of_the_work() -> None:
    everything = {(0, number) for number in range(4)}
    assert measured("speakers", 40.0, {0: a_plan(4)}, everything).share == pytest.approx(MOST_BEFORE_THE_END)


def test_channels_count_alike_and_nothing_is_done_before_all_are_planned() -> None:
    plans = {0: a_plan(4), 1: Plan((), (), 40.0)}  # nobody speaks in the second
    assert measured("recognise", 40.0, plans, ()).done == pytest.approx(20.0)
    for step in ("decode", "detect"):
        assert measured(step, 40.0, {1: plans[1]}, ()) == Progress(step, 40.0), "the first has no plan yet"
        assert measured(step, 40.0, plans, {(0, 0)}).done > 20.0, "it was begun before"
    first = measured("recognise", 40.0, plans, {(0, number) for number in range(4)})
    assert (first.done, first.pieces, first.pieces_done) == (pytest.approx(40.0), 4, 4)


def test_one_more_piece_counts_as_if_it_were_kept_and_one_that_is_kept_anew_once() -> None:
    tally = Tally({0: a_plan(4)}, ())
    for number in (2, 0, 2, 1, 3, 0):
        ahead = tally.progress("recognise", 40.0, (0, number))
        tally.keep(0, number)
        assert tally.progress("recognise", 40.0) == ahead
    assert (ahead.pieces_done, ahead.done) == (4, pytest.approx(40.0))


def test_how_far_a_day_of_many_channels_is_can_be_told_at_each_piece() -> None:
    """As quickly as of a minute: the event loop has others to serve."""
    plans = {channel: a_plan(5000) for channel in range(8)}
    long, short = Tally(plans, ()), Tally({0: a_plan(4)}, ())

    def seconds(tally: Tally) -> float:
        began = time.perf_counter()
        for _ in range(200):
            tally.progress("recognise", 50_000.0, (0, 3))
        return time.perf_counter() - began

    for channel in plans:
        for number in range(4999):
            long.keep(channel, number)
    assert min(seconds(long) for _ in range(5)) < 20 * min(seconds(short) for _ in range(5))


def test_pieces_of_a_plan_that_is_not_there_do_not_count() -> None:
    assert measured("recognise", 40.0, {0: a_plan(4)}, {(0, 9), (3, 0)}).pieces_done == 0


def test_the_pace_so_far_says_how_long_the_rest_takes() -> None:
    progress = recognising(30.0)
    assert seconds_left(progress, Pace(100.0, 10.0, 110.0), 110.0) == pytest.approx(5.0)
    assert seconds_left(progress, Pace(100.0, 10.0, 110.0), 113.0) == pytest.approx(2.0)
    assert seconds_left(progress, Pace(100.0, 10.0, 110.0), 200.0) == 0.0
    assert seconds_left(progress, Pace(100.0, 10.0, 110.0), 90.0) == pytest.approx(5.0), "another server's clock"


@pytest.mark.parametrize(
    ("progress", "pace"),
    [
        (recognising(30.0), Pace(None, 0.0, 110.0)),
        (recognising(30.0), Pace(100.0, 0.0, None)),
        (recognising(30.0), Pace(100.0, 10.0, 104.0)),  # too soon
        (recognising(30.0), Pace(100.0, 30.0, 110.0)),  # nothing done since
        (replace(recognising(30.0), step="speakers"), Pace(100.0, 10.0, 110.0)),
        (replace(recognising(30.0), duration=None), Pace(100.0, 10.0, 110.0)),
    ],
)
def test_what_cannot_be_told_is_not(progress: Progress, pace: Pace) -> None:
    assert seconds_left(progress, pace, 110.0) is None
