"""Loops are cut, and what people really say is never touched."""

from __future__ import annotations

import random

import pytest

from app.engines.whisper.repetition import collapse


@pytest.mark.parametrize(
    "said",
    [
        [],
        [1],
        [1, 1],
        [1] * 4,
        [1] * 11,  # "ha" eleven times
        [1, 2] * 5,  # "no no" five times
        [1, 2, 3] * 4,
        [1, 2, 3, 4] * 2,
        list(range(40)) * 4,
        [1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1, 8],
    ],
    ids=len,
)
def test_what_people_say_is_not_touched(said: list[int]) -> None:
    assert collapse(said) == said


@pytest.mark.parametrize("seed", range(100))
def test_text_without_loops_is_not_touched(seed: int) -> None:
    chance = random.Random(seed)
    said: list[int] = []
    for _ in range(chance.randint(1, 40)):
        phrase = [chance.randint(0, 300) for _ in range(chance.randint(1, 8))]
        said += phrase * chance.choice([1, 1, 1, 2, 3, 4])
    assert collapse(said) == said


@pytest.mark.parametrize(
    ("unit", "count"), [([1], 12), ([1], 200), ([1, 2], 6), ([1, 2, 3], 5), (list(range(8)), 5), (list(range(32)), 7)]
)
def test_a_loop_is_cut_to_two(unit: list[int], count: int) -> None:
    assert collapse(unit * count) == unit * 2


@pytest.mark.parametrize("seed", range(100))
def test_a_loop_in_the_middle_is_cut_and_all_else_kept(seed: int) -> None:
    chance = random.Random(seed)
    unit = [1000 + index for index in range(chance.randint(1, 20))]
    before = [chance.randint(0, 300) for _ in range(chance.randint(0, 20))]
    after = [chance.randint(400, 700) for _ in range(chance.randint(0, 20))]
    assert collapse(before + unit * chance.randint(12, 20) + after) == [*before, *unit, *unit, *after]


def test_a_loop_whose_last_round_is_cut_short_keeps_its_rest() -> None:
    assert collapse([1, 2, 3] * 6 + [1, 2]) == [1, 2, 3, 1, 2, 3, 1, 2]


def test_two_loops_are_both_cut() -> None:
    assert collapse([1] * 20 + [5, 6] + [2, 3] * 10) == [1, 1, 5, 6, 2, 3, 2, 3]


def test_collapsing_again_changes_nothing() -> None:
    chance = random.Random(1)
    said = [token for _ in range(20) for token in [chance.randint(0, 5)] * chance.randint(1, 30)]
    once = collapse(said)
    assert collapse(once) == once


def test_the_longest_decoding_is_quick() -> None:
    said = [index % 7 for index in range(448)]
    assert len(collapse(said)) < 30
