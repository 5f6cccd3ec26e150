"""When utterances begin, pause and end: on the frame, whatever the noise around them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.streaming.endpointing import PAUSE, Endpoint, Endpointer, Mark, Onset, Quiet, Resumed


def frames(*stretches: tuple[bool, float]) -> list[bool]:
    """Speech or not, for so many seconds each."""
    return [spoken for spoken, seconds in stretches for _ in range(round(seconds * 100))]


def heard(sound: list[bool], silence: float | None = 0.8) -> list[Mark]:
    endpointer = Endpointer(silence)
    return [*endpointer.push(sound), *endpointer.finish()]


def near(mark: Mark, other: Mark) -> bool:
    """Equal, to the rounding of binary fractions."""
    return type(mark) is type(other) and all(
        abs(getattr(mark, name) - getattr(other, name)) < 1e-6 for name in mark.__slots__
    )


@pytest.mark.parametrize("silence", [0.2, 0.3, 0.8, 1.5, 6.0])
def test_so_much_silence_ends_an_utterance_and_no_less(silence: float) -> None:
    marks = heard(frames((False, 1.0), (True, 2.0), (False, silence + 0.5)), silence)
    assert near(marks[0], Onset(1.0))
    assert near(marks[-1], Endpoint(1.0, 3.0, 3.0 + silence))
    shorter = heard(frames((False, 1.0), (True, 2.0), (False, silence - 0.05), (True, 1.0)), silence)
    assert [type(mark) for mark in shorter] == [Onset, Quiet, Resumed, Endpoint]


def test_a_noise_at_the_last_moment_delays_the_end_by_little() -> None:
    end = heard(frames((True, 1.0), (False, 0.72), (True, 0.1), (False, 1.0)))[-1]
    assert isinstance(end, Endpoint)
    assert 1.8 <= end.time <= 1.95


def test_what_was_said_is_worth_recognising_at_a_pause_that_may_be_the_end() -> None:
    marks = heard(frames((True, 1.0), (False, 0.5), (True, 1.0), (False, 2.0)))
    expected = [
        Onset(0.0),
        Quiet(0.0, 1.0, 1.0 + PAUSE),
        Resumed(1.5),
        Quiet(1.5, 2.5, 2.5 + PAUSE),
        Endpoint(1.5, 2.5, 3.3),
    ]
    assert len(marks) == len(expected)
    assert all(near(mark, other) for mark, other in zip(marks, expected, strict=True))


def test_with_little_silence_the_pause_is_shorter_still() -> None:
    marks = heard(frames((True, 1.0), (False, 1.0)), 0.3)
    assert near(marks[1], Quiet(0.0, 1.0, 1.15))
    assert near(marks[2], Endpoint(0.0, 1.0, 1.3))


def test_a_short_noise_begins_nothing_and_ends_late_nothing() -> None:
    assert heard(frames((False, 1.0), (True, 0.1), (False, 1.0))) == []
    marks = heard(frames((True, 1.0), (False, 0.4), (True, 0.1), (False, 1.0)))
    assert near(marks[-1], Endpoint(0.0, 1.0, 1.8))


def test_nothing_but_the_end_of_the_stream_ends_it_where_that_is_wanted() -> None:
    marks = heard(frames((True, 1.0), (False, 20.0), (True, 1.0)), None)
    assert [type(mark) for mark in marks] == [Onset, Quiet, Resumed, Endpoint]
    assert near(marks[-1], Endpoint(21.0, 22.0, 22.0))


def test_a_stream_that_ends_in_the_middle_of_speech_ends_there() -> None:
    assert near(heard(frames((False, 0.5), (True, 0.7)))[-1], Endpoint(0.5, 1.2, 1.2))


def test_a_word_of_which_only_the_beginning_comes_is_not_lost() -> None:
    marks = heard(frames((True, 1.0), (False, 0.5), (True, 0.08)))
    assert near(marks[-2], Resumed(1.5))
    assert near(marks[-1], Endpoint(1.5, 1.58, 1.58))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 2.0)), max_size=12), st.sampled_from([0.2, 0.5, 0.8, None]))
def test_marks_are_in_order_however_frames_arrive(stretches: list[tuple[bool, float]], silence: float | None) -> None:
    sound = frames(*stretches)
    marks = heard(sound, silence)
    one_by_one = Endpointer(silence)
    assert [*(mark for spoken in sound for mark in one_by_one.push([spoken])), *one_by_one.finish()] == marks
    follows = {Onset: {Quiet, Endpoint}, Quiet: {Resumed, Endpoint}, Resumed: {Quiet, Endpoint}, Endpoint: {Onset}}
    assert all(type(after) in follows[type(before)] for before, after in pairwise(marks))
    assert not marks or (isinstance(marks[0], Onset) and isinstance(marks[-1], Endpoint))
