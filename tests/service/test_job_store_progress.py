"""How far a job is, and how long the rest will take: the arithmetic by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from service.job_stores import a_plan, recognising

from app.service.jobs.job import Plan, Progress
from app.service.jobs.progress import MOST_BEFORE_THE_END, Pace, measured, seconds_left


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


def test_channels_count_alike_and_those_that_are_not_planned_yet_are_not_done() -> None:
    plans = {0: a_plan(4), 1: Plan((), (), 40.0)}  # nobody speaks in the second
    assert measured("recognise", 40.0, plans, (), channels=2).done == pytest.approx(20.0)
    assert measured("recognise", 40.0, {1: plans[1]}, (), channels=2).done == pytest.approx(20.0)
    first = measured("recognise", 40.0, plans, {(0, number) for number in range(4)}, channels=2)
    assert (first.done, first.pieces, first.pieces_done) == (pytest.approx(40.0), 4, 4)


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
