"""Chunks of a recording and who is heard in them: all speech is somebody's, voices are sampled where one is alone."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from app.domain.engines import SpeechSpan
from app.pipeline.diarization.hearing import Chunk, HeardChunk, chunks, hear

from ..stubs import VOICES, ClockSound, Schedule, StubSpeakers

TINY = 1e-6


def spans(*pairs: tuple[float, float]) -> list[SpeechSpan]:
    return [SpeechSpan(start, end) for start, end in pairs]


# --- chunks -----------------------------------------------------------------------------------------------------------


def random_speech(seed: int) -> list[SpeechSpan]:
    chance = random.Random(seed)
    clock = chance.choice([0.0, chance.uniform(0, 5)])
    found: list[SpeechSpan] = []
    for _ in range(chance.randint(1, 40)):
        length = chance.choice([0.05, 0.3, 2.0, 8.0, 10.0, 45.0]) * chance.choice([1.0, chance.uniform(0.5, 1.5)])
        found.append(SpeechSpan(clock, clock + length))
        clock += length + chance.choice([0.01, 0.3, 2.0, 30.0])
    return found


def merged(parts: list[SpeechSpan]) -> list[SpeechSpan]:
    """Parts that touch, as one."""
    whole: list[SpeechSpan] = []
    for part in parts:
        if whole and whole[-1].end == part.start:
            whole[-1] = SpeechSpan(whole[-1].start, part.end)
        else:
            whole.append(part)
    return whole


@pytest.mark.parametrize("seed", range(100))
def test_any_speech_is_covered_by_chunks_that_can_be_heard(seed: int) -> None:
    found = random_speech(seed)
    made = chunks(found, 10.0)
    assert merged([span for chunk in made for span in chunk.spans]) == merged(found), "all of it, once, in order"
    for chunk in made:
        assert chunk.spans
        assert (chunk.start, chunk.end) == (chunk.spans[0].start, chunk.spans[-1].end)
        assert chunk.end - chunk.start <= 10.0 + TINY
    for before, after in itertools.pairwise(made):
        assert before.end <= after.start


def test_no_speech_is_no_chunks() -> None:
    assert chunks([], 10.0) == []


def test_a_chunk_rather_ends_in_a_late_pause() -> None:
    first, second = chunks(spans((0, 4), (4.5, 8), (8.5, 12)), 10.0)
    assert (first.end, second.start) == (8, 8.5)


def test_an_early_pause_is_too_wasteful_to_end_in() -> None:
    first, second = chunks(spans((0, 4), (5, 15)), 10.0)
    assert first.spans == (SpeechSpan(0, 4), SpeechSpan(5, 10))
    assert second.spans == (SpeechSpan(10, 15),)


def test_long_speech_is_parted() -> None:
    made = chunks(spans((2.0, 37.0)), 10.0)
    assert [(chunk.start, chunk.end) for chunk in made] == [(2, 12), (12, 22), (22, 32), (32, 37)]


def test_distant_speech_begins_a_chunk_of_its_own() -> None:
    made = chunks(spans((0, 1), (50, 51)), 10.0)
    assert [chunk.start for chunk in made] == [0, 50]


# --- hearing ----------------------------------------------------------------------------------------------------------


def heard(schedule: Schedule, *pairs: tuple[float, float], duration: float = 60.0) -> tuple[HeardChunk, StubSpeakers]:
    """What is heard in the one chunk that these spans make."""
    speakers = StubSpeakers(schedule)
    (chunk,) = chunks(spans(*pairs), speakers.segmenter.chunk_seconds)
    return hear(ClockSound(duration), chunk, speakers.segmenter, speakers.encoder), speakers


def spoken(chunk: HeardChunk, person: int) -> list[tuple[float, float]]:
    """From when to when a person is heard."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chunk.active[:, person].astype(int), [0]])))
    times = [chunk.time(int(edge)) for edge in edges]
    return list(zip(times[::2], times[1::2], strict=True))


def windows(chunk: HeardChunk) -> list[tuple[int, float, float, float]]:
    """Person, start, end and embedded seconds of every window."""
    return [
        (window.person, round(chunk.time(window.first), 2), round(chunk.time(window.last), 2), round(window.seconds, 2))
        for window in chunk.windows
    ]


def about(*pairs: tuple[float, float]) -> object:
    """These times, give or take a frame."""
    return [pytest.approx(pair, abs=0.03) for pair in pairs]


def test_people_are_heard_when_they_speak_with_their_voices() -> None:
    chunk, _ = heard([(21, 24, 0), (24, 27, 1), (28, 29, 0)], (21, 27), (28, 29))
    assert spoken(chunk, 0) == about((21, 24), (28, 29))
    assert spoken(chunk, 1) == about((24, 27))
    assert not chunk.active[:, 2].any()
    assert [person for person, *_ in windows(chunk)] == [0, 1, 0]
    assert np.array_equal(chunk.embeddings, VOICES[[0, 1, 0]])


def test_frames_are_the_chunks_own() -> None:
    chunk, speakers = heard([(21, 24, 0)], (21, 24))
    assert chunk.start == 21 + speakers.segmenter.first_frame
    assert chunk.time(len(chunk.active)) == pytest.approx(24, abs=0.03)
    assert chunk.active.any(axis=1).all()


def test_nobody_is_heard_outside_of_speech() -> None:
    chunk, _ = heard([(0, 10, 0)], (1, 3), (5, 8))
    assert spoken(chunk, 0) == about((1, 3), (5, 8))


def test_speech_in_which_nobody_was_heard_is_whoever_is_nearest() -> None:
    chunk, _ = heard([(1.5, 3, 0), (5, 5.8, 1)], (1, 6))
    assert spoken(chunk, 0) == about((1, 4))
    assert spoken(chunk, 1) == about((4, 6))


def test_a_single_heard_frame_speaks_for_all() -> None:
    chunk, _ = heard([(2.0, 2.02, 1)], (1, 4))
    assert spoken(chunk, 1) == about((1, 4))


def test_speech_in_which_nobody_was_heard_at_all_has_somebody() -> None:
    chunk, _ = heard([], (1, 3), (4, 5))
    assert spoken(chunk, 0) == about((1, 3), (4, 5))
    assert len(chunk.windows) == 2
    assert np.array_equal(chunk.embeddings, VOICES[[-1, -1]])


def test_several_at_once_stay_several_but_lend_no_voice() -> None:
    chunk, _ = heard([(1, 5, 0), (3, 7, 1)], (1, 7))
    assert spoken(chunk, 0) == about((1, 5))
    assert spoken(chunk, 1) == about((3, 7))
    assert [window[:3] for window in windows(chunk)] == [
        (0, pytest.approx(1, abs=0.03), pytest.approx(3, abs=0.03)),
        (1, pytest.approx(5, abs=0.03), pytest.approx(7, abs=0.03)),
    ]


def test_a_breath_is_bridged_and_a_pause_is_not() -> None:
    bridged, _ = heard([(1, 4, 0)], (1, 2), (2.2, 3.2))
    assert len(bridged.windows) == 1
    apart, _ = heard([(1, 4, 0)], (1, 2), (2.4, 3.4))
    assert len(apart.windows) == 2


def test_another_voice_is_no_breath() -> None:
    chunk, _ = heard([(1, 2, 0), (2, 2.2, 1), (2.2, 3.2, 0)], (1, 3.2))
    assert [person for person, *_ in windows(chunk)] == [0, 1, 0]


def test_a_long_run_is_sampled_in_every_part() -> None:
    chunk, speakers = heard([(10, 19.9, 2)], (10, 19.9))
    parts = windows(chunk)
    assert len(parts) == 3
    assert all(3.2 < end - start < 3.4 for _, start, end, _ in parts)
    assert all(seconds == 1.6 for *_, seconds in parts)
    assert speakers.encoder.lengths == [pytest.approx(1.6, abs=0.001)] * 3


def test_a_short_run_is_sampled_only_when_there_is_nothing_longer() -> None:
    both, _ = heard([(1, 3, 0), (5, 5.4, 0), (7, 7.4, 1)], (1, 3), (5, 5.4), (7, 7.4))
    assert [(person, start) for person, start, *_ in windows(both)] == [
        (0, pytest.approx(1, abs=0.03)),
        (1, pytest.approx(7, abs=0.03)),
    ]
    _, speakers = heard([(1, 1.4, 0), (3, 3.3, 0)], (1, 1.4), (3, 3.3))
    assert speakers.encoder.lengths == [pytest.approx(0.4, abs=0.03)], "the longer of two"


def test_a_click_is_no_voice_but_somebody_makes_it() -> None:
    chunk, _ = heard([(1, 1.15, 0)], (1, 1.15))
    assert chunk.windows == ()
    assert len(chunk.embeddings) == 0
    assert chunk.active.any(axis=1).all()


@pytest.mark.parametrize("seconds", [0.001, 0.03, 0.1, 0.19])
def test_sound_shorter_than_a_voice_is_heard(seconds: float) -> None:
    chunk, _ = heard([(0, 1, 0)], (0, seconds), duration=seconds)
    assert len(chunk.active) >= 1
    assert chunk.active.any() == (seconds >= 0.03), "less is before the first frame"
    assert (chunk.windows, chunk.embeddings.shape) == ((), (0, 192))


@pytest.mark.parametrize("duration", [0.3, 2.0, 9.99])
def test_speech_to_the_end_of_the_recording(duration: float) -> None:
    chunk, speakers = heard([(0, 60, 0)], (0, duration), duration=duration)
    assert spoken(chunk, 0) == about((0, duration))
    assert len(chunk.windows) == len(speakers.encoder.lengths) >= 1


def test_a_segmenter_that_hears_nothing_of_a_moment() -> None:
    speakers = StubSpeakers([(0, 10, 0)])
    speakers.segmenter.first_frame = 0.5  # its first frame needs more sound than there is
    chunk = hear(ClockSound(0.3), Chunk(0.0, 0.3, (SpeechSpan(0.0, 0.3),)), speakers.segmenter, speakers.encoder)
    assert chunk.active.shape == (1, 1)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_heard_all_speech_and_nothing_else_is_somebodys(seed: int) -> None:
    chance = random.Random(seed)
    schedule = [
        (start, start + chance.uniform(0.05, 4), chance.randrange(3))
        for start in (chance.uniform(0, 70) for _ in range(chance.randint(0, 40)))
    ]
    found = [span for span in random_speech(seed) if span.end < 70]
    speakers = StubSpeakers(schedule)
    for chunk in chunks(found, 10.0):
        made = hear(ClockSound(70.0), chunk, speakers.segmenter, speakers.encoder)
        middles = made.start + made.frame_seconds * np.arange(len(made.active))
        somebody = made.active.any(axis=1)
        inside = np.zeros(len(middles), bool)
        near = np.zeros(len(middles), bool)
        for span in chunk.spans:
            inside |= (middles >= span.start) & (middles <= span.end)
            near |= (middles >= span.start - 0.02) & (middles <= span.end + 0.02)
        assert somebody[inside].all()
        assert not somebody[~near].any()
        assert len(made.windows) == len(made.embeddings)
        assert list(made.windows) == sorted(made.windows, key=lambda window: window.first)
        for window in made.windows:
            assert 0 <= window.first < window.last <= len(made.active)
            assert made.active[window.first : window.last, window.person].any()
            assert window.seconds <= 1.6
