"""Endless repetition is noticed, and what may be shown before is never taken back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.qwen3.loops import LoopGuard


def fed(tokens: list[int]) -> LoopGuard:
    guard = LoopGuard()
    for token in tokens:
        guard.add(token)
    return guard


@pytest.mark.parametrize(
    "said",
    [
        [],
        [1],
        [1] * 20,  # laughter
        [1, 2] * 20,
        list(range(20)) * 20,
        list(range(21)) * 30,  # a unit that is longer than those looked at
        ([1] * 20 + [2]) * 3,
        [1, 2, 3] * 20 + [1, 2],
    ],
    ids=len,
)
def test_what_is_said_up_to_twenty_times_stays(said: list[int]) -> None:
    guard = fed(said)
    assert not guard.looping
    assert guard.kept == len(said)


@pytest.mark.parametrize("unit", [[1], [1, 2], [1, 1, 2], list(range(7)), list(range(20))], ids=len)
@pytest.mark.parametrize("before", [[], [1], [90, 91, 92]], ids=len)
def test_the_twenty_first_time_is_a_loop_of_which_two_are_left(unit: list[int], before: list[int]) -> None:
    guard = LoopGuard()
    told = 0
    for token in before + unit * 40:
        guard.add(token)
        told += not guard.looping
    assert guard.looping
    assert told < len(before) + 21 * len(unit), "it is told at once"
    whole = before + unit * 40
    left = whole[: guard.kept]
    assert len(before) + len(unit) <= len(left) <= len(before) + 2 * len(unit)


def test_a_loop_of_loops_is_cut_where_the_inner_one_is_none() -> None:
    guard = fed([1, 1, 1, 2] * 21)
    assert guard.looping
    assert guard.kept == 8


@pytest.mark.parametrize("times", range(1, 21))
def test_no_more_than_two_are_shown_until_it_is_known_how_it_ends(times: int) -> None:
    guard = fed([9, 8] + [1] * times)
    assert guard.shown == 2 + min(times, 2)
    guard.add(7)
    assert guard.shown == times + 3, "all of it, once something else is said"


def test_what_never_repeats_is_shown_at_once() -> None:
    guard = LoopGuard()
    for count, token in enumerate(range(100), start=1):
        guard.add(token)
        assert guard.shown == count


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 25)), min_size=1, max_size=6)
)
def test_what_was_shown_stands_in_the_end(parts: list[tuple[list[int], int]]) -> None:
    guard = LoopGuard()
    shown = 0
    for token in [token for unit, times in parts for token in unit * times]:
        guard.add(token)
        assert guard.shown >= shown
        shown = guard.shown
    assert shown <= guard.kept


def test_what_comes_after_a_loop_changes_nothing() -> None:
    guard = fed([5] + [1] * 21)
    before = guard.kept, guard.shown
    guard.add(2)
    assert (guard.kept, guard.shown) == before == (3, 3)


def test_long_answers_are_followed_quickly() -> None:
    chance = random.Random(3)
    guard = fed([chance.randint(0, 2) for _ in range(20_000)])
    assert guard.kept <= 20_000
