"""Turns: all speech has a voice, breaths do not part it, and edges reach into silence but not into another's turn."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from app.domain.engines import SpeechSpan
from app.pipeline.diarization.clustering import Voices
from app.pipeline.diarization.hearing import HeardChunk, Window, chunks, hear
from app.pipeline.diarization.turns import turns_of

from ..stubs import VOICES, ClockSound, Schedule, StubSpeakers

PADDING = 0.1


def known(number: int) -> Voices:
    return Voices(VOICES[:number], np.full(number, 60.0, np.float32))


def taken(
    schedule: Schedule, *spans: tuple[float, float], voices: int = 2, overlap: bool = True, longest: float = 10.0
) -> list[tuple[int, float, float]]:
    """Voice, start and end of every turn in these spans, heard in chunks of at most `longest` seconds."""
    speakers = StubSpeakers(schedule)
    speakers.segmenter.chunk_seconds = longest
    heard = [
        hear(ClockSound(200.0), chunk, speakers.segmenter, speakers.encoder)
        for chunk in chunks([SpeechSpan(*span) for span in spans], longest)
    ]
    return [(turn.voice, turn.start, turn.end) for turn in turns_of(heard, known(voices), overlap=overlap)]


def about(*turns: tuple[int, float, float]) -> list[object]:
    """These turns, give or take a frame."""
    return [(voice, pytest.approx(start, abs=0.03), pytest.approx(end, abs=0.03)) for voice, start, end in turns]


def test_people_take_turns() -> None:
    schedule = [(10, 14, 0), (15, 18, 1), (18, 19, 0)]
    made = taken(schedule, (10, 14), (15, 19))
    assert made == about((0, 9.9, 14.1), (1, 14.9, 18), (0, 18, 19.1))


def test_whose_voice_it_is_decides_not_the_number_in_the_chunk() -> None:
    schedule = [(10, 14, 2), (40, 44, 5), (70, 74, 2)]  # 2 and 5 have the same place in their chunks
    made = taken(schedule, (10, 14), (40, 44), (70, 74), voices=6)
    assert [voice for voice, *_ in made] == [2, 5, 2]


def test_a_person_whose_voice_changes_is_two() -> None:
    # The segmenter takes them for one, the voices in the parts of the run do not.
    schedule = [(10, 14, 0), (14, 18, 3)]
    assert taken(schedule, (10, 18), voices=4) == about((0, 9.9, 14), (3, 14, 18.1))


def test_overlap_is_spoken_by_both() -> None:
    schedule = [(10, 15, 0), (13, 18, 1)]
    assert taken(schedule, (10, 18)) == about((0, 9.9, 15), (1, 13, 18.1))


def test_without_overlap_it_is_whoever_spoke_alone_nearest() -> None:
    schedule = [(10, 15, 0), (13, 18, 1)]
    assert taken(schedule, (10, 18), overlap=False) == about((0, 9.9, 14), (1, 14, 18.1))


def test_without_overlap_speech_is_somebodys_still() -> None:
    schedule = [(10, 18, 0), (10, 18, 1)]  # nobody is ever alone
    for overlap in (True, False):
        assert taken(schedule, (10, 18), overlap=overlap) == about((0, 9.9, 18.1))


def test_a_breath_is_within_a_turn_and_a_pause_ends_it() -> None:
    assert taken([(10, 20, 0)], (10, 12), (12.2, 14)) == about((0, 9.9, 14.1))
    assert taken([(10, 20, 0)], (10, 12), (12.5, 14)) == about((0, 9.9, 12.1), (0, 12.4, 14.1))


def test_a_turn_goes_on_across_chunks() -> None:
    assert taken([(10, 60, 1)], (10, 47)) == about((1, 9.9, 47.1))


def test_neighbours_share_a_short_pause() -> None:
    made = taken([(10, 12, 0), (12.1, 14, 1)], (10, 12), (12.1, 14))
    assert made == about((0, 9.9, 12.05), (1, 12.05, 14.1))
    assert made[0][2] <= made[1][1]


def test_padding_does_not_begin_before_the_recording() -> None:
    ((_, start, _),) = taken([(0, 2, 0)], (0, 2))
    assert 0 <= start < 0.03


def test_somebody_too_brief_to_have_a_voice_is_whoever_is_near() -> None:
    schedule = [(10, 12, 1), (12.5, 12.65, 0), (16, 18, 0)]
    made = taken([*schedule[:2]], (10, 12), (12.5, 12.65))
    assert [voice for voice, *_ in made] == [1, 1]


def test_a_chunk_without_a_voice_is_the_last_speakers() -> None:
    schedule = [(10, 12, 0), (13, 15, 1), (40, 40.15, 0)]
    made = taken(schedule, (10, 12), (13, 15), (40, 40.15))
    assert [voice for voice, *_ in made] == [0, 1, 1]
    assert [voice for voice, *_ in taken([(1, 1.15, 0)], (1, 1.15))] == [0], "there was no last one"


def test_one_odd_window_is_outvoted_by_the_persons_others() -> None:
    # Halfway between two voices by itself, but whose it is the other windows tell.
    doubtful = (VOICES[0] * 0.69 + VOICES[1] * 0.72).astype(np.float32)
    embeddings = np.stack([VOICES[0], doubtful / np.linalg.norm(doubtful), VOICES[0]])
    windows = tuple(Window(first, first + 100, 0, 1.6) for first in (0, 100, 200))
    chunk = HeardChunk(0.0, 0.02, np.ones((300, 1), np.bool_), windows, embeddings)
    assert [turn.voice for turn in turns_of([chunk], known(2), overlap=True)] == [0]


def test_no_speech_is_no_turns() -> None:
    assert turns_of([], known(1), overlap=True) == []


def random_conversation(seed: int) -> tuple[Schedule, list[tuple[float, float]]]:
    chance = random.Random(seed)
    schedule: list[tuple[float, float, int]] = []
    spans: list[tuple[float, float]] = []
    clock = chance.uniform(0, 3)
    for _ in range(chance.randint(1, 12)):
        length = chance.choice([0.2, 1.0, 5.0, 20.0]) * chance.uniform(0.8, 1.2)
        spans.append((clock, clock + length))
        for _ in range(chance.randint(0, 3)):
            start = clock + chance.uniform(-0.5, length)
            schedule.append((start, start + chance.uniform(0.1, length), chance.randrange(3)))
        clock += length + chance.choice([0.05, 0.25, 0.6, 4.0])
    return schedule, spans


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("overlap", [True, False])
def test_all_speech_is_in_a_turn_and_no_turn_is_in_silence(seed: int, overlap: bool) -> None:
    schedule, spans = random_conversation(seed)
    made = taken(schedule, *spans, voices=3, overlap=overlap)
    assert made == sorted(made, key=lambda turn: turn[1]), "in order"
    for start, end in spans:
        for time in np.arange(start + 0.02, end - 0.02, 0.05):
            assert any(first <= time <= last for _, first, last in made), time
    for _, first, last in made:
        assert 0 <= first < last
        assert any(start - PADDING - 0.03 <= first <= end + 0.03 for start, end in spans)
        assert any(start - 0.03 <= last <= end + PADDING + 0.03 for start, end in spans)
    for voice in range(3):
        own = [turn for turn in made if turn[0] == voice]
        for (_, _, last), (_, first, _) in itertools.pairwise(own):
            assert last <= first + 1e-9, "nobody speaks twice at once"


@pytest.mark.parametrize("seed", range(40))
def test_padding_never_reaches_into_another_turn(seed: int) -> None:
    chance = random.Random(seed)
    schedule: list[tuple[float, float, int]] = []
    clock = chance.uniform(0, 0.3)
    for index in range(20):
        length = chance.uniform(0.6, 6)
        schedule.append((clock, clock + length, index % 2))
        clock += length + chance.choice([0.0, 0.05, 0.15, 0.25, 3.0])
    made = taken(schedule, *[(start, end) for start, end, _ in schedule], longest=200.0)
    assert [voice for voice, *_ in made] == [index % 2 for index in range(20)]
    for (_, _, last), (_, first, _) in itertools.pairwise(made):
        assert last <= first + 1e-9
    for (_, start, end), (began, ended, _) in zip(made, schedule, strict=True):
        assert began - PADDING - 0.03 <= start <= began + 0.03
        assert ended - 0.03 <= end <= ended + PADDING + 0.03
