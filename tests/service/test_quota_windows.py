"""Moving windows: what counts, until when, and what is left in memory."""

from __future__ import annotations

import gc
import math
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from app.service.quota_windows import Entry, Windows


class Clock:
    """One that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_used_counts_for_a_span_and_no_longer() -> None:
    clock = Clock()
    windows = Windows(60.0, clock)
    windows.use("a", 2)
    clock.now += 30
    windows.use("a", 1)
    assert windows.used("a") == 3
    clock.now += 29.9
    assert windows.used("a") == 3
    clock.now += 0.1
    assert windows.used("a") == 1
    clock.now += 30
    assert windows.used("a") == 0


def test_room_comes_when_enough_of_what_was_used_is_over() -> None:
    clock = Clock()
    windows = Windows(60.0, clock)
    for amount in (1, 4, 2):
        windows.use("a", amount)
        clock.now += 10
    assert windows.wait("a", 3, 10) == 0
    assert windows.wait("a", 4, 10) == 30  # the first one's end
    assert windows.wait("a", 5, 10) == 40  # the second's
    assert windows.wait("a", 9, 10) == 50
    assert windows.wait("a", 11, 10) == math.inf
    assert windows.resets("a") == 50
    assert windows.resets("b") == 0


def test_callers_do_not_touch_each_other() -> None:
    windows = Windows(60.0, Clock())
    windows.use("a", 10)
    assert windows.used("b") == 0
    assert windows.wait("b", 10, 10) == 0
    assert windows.callers == ["a"]


def test_what_is_given_back_was_not_used() -> None:
    clock = Clock()
    windows = Windows(60.0, clock)
    kept, given = windows.use("a", 5), windows.use("a", 3)
    given.give_back()
    given.give_back()
    assert windows.used("a") == 5
    clock.now += 60
    windows.use("a", 2)
    kept.give_back()  # too late: it does not count any more
    assert windows.used("a") == 2


def test_what_was_given_back_keeps_nobody_waiting() -> None:
    clock = Clock()
    windows = Windows(60.0, clock)
    windows.use("a", 1)
    clock.now += 50
    given = windows.use("a", 1)
    assert windows.resets("a") == 60
    given.give_back()
    assert windows.resets("a") == 10


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 7)), min_size=1, max_size=30), st.integers(1, 10))
def test_who_waits_as_long_as_told_finds_room_and_nobody_does_before(
    uses: list[tuple[float, int]], amount: int
) -> None:
    clock, limit = Clock(), 10
    windows = Windows(60.0, clock)
    for pause, used in uses:
        clock.now += pause
        if not windows.wait("a", used, limit):
            windows.use("a", used)
    wait = windows.wait("a", amount, limit)
    if not wait:
        assert windows.used("a") + amount <= limit
        return
    began = clock.now
    clock.now = began + wait - 0.002
    assert windows.wait("a", amount, limit) > 0
    clock.now = began + wait
    assert windows.wait("a", amount, limit) == 0


def kept() -> int:
    """Entries of anybody that are in memory, but for what other tests left as garbage."""
    gc.collect()
    return sum(type(one) is Entry for one in gc.get_objects())


def test_nothing_is_kept_of_ten_thousand_callers_who_went() -> None:
    clock = Clock()
    windows = Windows(60.0, clock)
    before = kept()
    for number in range(10_000):
        windows.use(f"10.0.{number >> 8}.{number & 255}", 1)
        clock.now += 0.1
    # A minute of them is there at a time, and then nobody.
    assert len(windows.callers) <= 601
    assert kept() - before <= 601
    clock.now += 60
    assert windows.callers == []
    assert kept() == before


def test_entries_of_a_busy_caller_are_bounded() -> None:
    clock = Clock()
    windows = Windows(3600.0, clock)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(20_000):  # a hundred streams, ten times a second, for 20 s
            windows.use("a", 1600)
            clock.now += 0.001
        assert tracemalloc.get_traced_memory()[0] < 64 * 1024
    finally:
        tracemalloc.stop()
    assert windows.used("a") == 20_000 * 1600
    assert windows.wait("a", 1, windows.used("a")) <= 3600
