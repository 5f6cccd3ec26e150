"""Speakers while a conversation goes on: told for good, piece by piece."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions, Voiceprint
from app.domain.transcript import Segment, Word
from app.pipeline.diarization.hearing import HeardChunk, Window
from app.pipeline.diarization.online import MOST_VOICES, OnlineVoices

SIZE = 192
STEP = 0.02
VOICES = np.eye(SIZE, dtype=np.float32)
ANYBODY = SpeakerOptions()
Run = tuple[float, np.ndarray]
"""Seconds in which somebody speaks, and what their voice sounds like then."""


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def alike(one: int, other: int, cosine: float) -> np.ndarray:
    """A voice that is so much like `one`, the rest of it like `other`."""
    return unit(cosine * VOICES[one] + np.sqrt(1 - cosine**2) * VOICES[other])


def piece(*runs: Run, start: float = 0.0) -> tuple[list[HeardChunk], list[Segment]]:
    """Sound in which people speak one after another, and a segment of words of a quarter of a second."""
    edges = np.cumsum([0.0, *(seconds for seconds, _ in runs)])
    frames = (edges / STEP).round().astype(int)
    active = np.zeros((frames[-1], len(runs)), np.bool_)
    windows: list[Window] = []
    for person, (first, last) in enumerate(pairwise(frames)):
        active[first:last, person] = True
        windows.append(Window(int(first), int(last), person, min(1.6, (last - first) * STEP)))
    embeddings = np.stack([voice for _, voice in runs])
    chunk = HeardChunk(start, STEP, active, tuple(windows), embeddings)
    times = [start + 0.25 * number for number in range(round(edges[-1] / 0.25))]
    words = tuple(Word("so", time, time + 0.25) for time in times)
    return [chunk], [Segment(start, start + float(edges[-1]), " ".join("so" for _ in words), words)]


def online(options: SpeakerOptions = ANYBODY, threshold: float = 0.45) -> OnlineVoices:
    return OnlineVoices(options, threshold, "encoder")


def tell(voices: OnlineVoices, *runs: Run) -> list[Speaker | None]:
    """Who says each segment of a piece."""
    return [segment.speaker for segment in voices.tell(*piece(*runs))]


def numbers(voices: OnlineVoices, *people: int, seconds: float = 3.0) -> list[int]:
    """Of pieces that one person each says."""
    told = [tell(voices, (seconds, VOICES[person])) for person in people]
    return [speaker.number for [speaker] in told if speaker is not None]


def known(name: str, person: int) -> KnownVoice:
    return KnownVoice(name, (Voiceprint(VOICES[person], 5.0, "encoder"),))


# --- who is who -------------------------------------------------------------------------------------------------------


def test_people_are_numbered_as_they_first_speak_and_keep_their_numbers() -> None:
    assert numbers(online(), 7, 3, 7, 5, 3, 7) == [0, 1, 0, 2, 1, 0]


def test_two_in_one_piece_have_segments_of_their_own() -> None:
    [chunk], segments = piece((2.0, VOICES[0]), (3.0, VOICES[1]), (2.0, VOICES[0]))
    told = online().tell([chunk], segments)
    assert [(one.start, one.end, one.speaker) for one in told] == [
        (0.0, 2.0, Speaker(0)),
        (2.0, 5.0, Speaker(1)),
        (5.0, 7.0, Speaker(0)),
    ]
    assert all(word.speaker == one.speaker for one in told for word in one.words)
    assert sum(len(one.words) for one in told) == len(segments[0].words)


def test_a_voice_that_sounds_a_little_different_is_the_same() -> None:
    voices = online()
    assert tell(voices, (3.0, VOICES[0])) == [Speaker(0)]
    assert tell(voices, (3.0, alike(0, 9, 0.5))) == [Speaker(0)]
    assert tell(voices, (3.0, alike(0, 8, 0.2))) == [Speaker(1)]


@pytest.mark.parametrize("cosine", [0.3, -0.2])
def test_what_is_too_short_for_a_new_voice_goes_to_the_one_it_is_most_like(cosine: float) -> None:
    voices = online()
    assert numbers(voices, 0, 1) == [0, 1]
    assert tell(voices, (0.6, alike(1, 9, cosine))) == [Speaker(1 if cosine > 0 else 0)]
    assert numbers(voices, 9) == [2], "it taught the voice nothing"


def test_a_first_word_however_short_has_a_speaker_who_is_known_again() -> None:
    voices = online()
    assert tell(voices, (0.6, VOICES[4])) == [Speaker(0)]
    assert numbers(voices, 5, 4) == [1, 0]


def test_a_sound_too_short_for_a_voice_is_whoever_spoke_last() -> None:
    voices = online()
    assert numbers(voices, 0, 1) == [0, 1]
    active = np.ones((8, 1), np.bool_)
    cough = HeardChunk(0.0, STEP, active, (), np.zeros((0, SIZE), np.float32))
    [told] = voices.tell([cough], [Segment(0.0, 0.15, "Oh.")])
    assert told.speaker == Speaker(1)


def test_a_sound_too_short_for_a_voice_may_be_the_first() -> None:
    voices = online()
    cough = HeardChunk(0.0, STEP, np.ones((8, 1), np.bool_), (), np.zeros((0, SIZE), np.float32))
    [told] = voices.tell([cough], [Segment(0.0, 0.15, "Oh.")])
    assert told.speaker == Speaker(0)
    assert numbers(voices, 3, 4) == [0, 1], "nothing is known of that voice, so that it is the next one's"


def test_a_voice_without_words_takes_no_number() -> None:
    voices = online()
    chunks, _ = piece((3.0, VOICES[6]))
    assert voices.tell(chunks, []) == []
    assert numbers(voices, 0, 6) == [0, 1]


def test_silence_has_nobody() -> None:
    hush = HeardChunk(0.0, STEP, np.zeros((8, 1), np.bool_), (), np.zeros((0, SIZE), np.float32))
    voices = online()
    assert voices.tell([hush], []) == []
    assert numbers(voices, 2) == [0]


def test_two_numbers_that_turn_out_to_be_one_person_go_on_as_the_first() -> None:
    """What was told stays right: nobody else ever gets the second number."""
    voices = online()
    assert tell(voices, (3.0, VOICES[0])) == [Speaker(0)]
    assert tell(voices, (3.0, alike(0, 1, 0.3))) == [Speaker(1)]
    between = unit(VOICES[0] + alike(0, 1, 0.3))
    for _ in range(10):
        tell(voices, (3.0, between))
    assert tell(voices, (3.0, alike(0, 1, 0.3))) == [Speaker(0)]
    assert numbers(voices, 5) == [2]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.3, 5.0)), min_size=1, max_size=40))
def test_a_number_never_comes_to_mean_somebody_else(turns: list[tuple[int, float]]) -> None:
    """Of all who spoke long enough."""
    voices = online()
    meaning: dict[int, int] = {}
    firm: set[int] = set()
    for person, seconds in turns:
        [speaker] = tell(voices, (max(0.25, round(seconds * 4) / 4), VOICES[person]))
        assert speaker is not None
        if seconds >= 1.2:
            firm.add(person)
            assert meaning.setdefault(speaker.number, person) == person
    assert len(meaning) == len(firm)


# --- how many, and who by name ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [SpeakerOptions(count=2), SpeakerOptions(most=2)])
def test_there_are_no_more_than_was_said(options: SpeakerOptions) -> None:
    assert set(numbers(online(options), 0, 1, 2, 3, 4)) == {0, 1}


def test_a_known_voice_has_its_name_and_a_number_like_everybody() -> None:
    voices = online(SpeakerOptions(voices=(known("Anna", 3), known("Bob", 4))))
    told = [tell(voices, (3.0, VOICES[person])) for person in (0, 3, 0, 4)]
    assert told == [[Speaker(0)], [Speaker(1, "Anna")], [Speaker(0)], [Speaker(2, "Bob")]]


def test_a_name_that_becomes_certain_later_leaves_the_number() -> None:
    voices = online(SpeakerOptions(voices=(known("Anna", 3),)))
    assert tell(voices, (3.0, alike(3, 1, 0.42))) == [Speaker(0)]
    assert tell(voices, (3.0, alike(3, 1, 0.8))) == [Speaker(0, "Anna")]
    assert tell(voices, (3.0, alike(3, 1, 0.42))) == [Speaker(0, "Anna")]


def test_a_stranger_who_is_a_little_like_a_known_voice_stays_one() -> None:
    voices = online(SpeakerOptions(voices=(known("Anna", 3),)), threshold=0.45)
    assert tell(voices, (3.0, alike(3, 1, 0.3))) == [Speaker(0)]


def test_two_known_voices_that_are_much_alike_are_two() -> None:
    bob = KnownVoice("Bob", (Voiceprint(alike(3, 4, 0.5), 5.0, "encoder"),))
    voices = online(SpeakerOptions(voices=(known("Anna", 3), bob)))
    told = [tell(voices, (3.0, voice)) for voice in (VOICES[3], alike(3, 4, 0.5), VOICES[3], alike(3, 4, 0.5))]
    assert told == [[Speaker(0, "Anna")], [Speaker(1, "Bob")]] * 2


def test_two_voices_of_one_name_are_one_speaker() -> None:
    samples = (Voiceprint(VOICES[3], 5.0, "encoder"), Voiceprint(VOICES[4], 5.0, "encoder"))
    voices = online(SpeakerOptions(voices=(KnownVoice("Anna", samples),)))
    assert tell(voices, (3.0, VOICES[3])) == tell(voices, (3.0, VOICES[4])) == [Speaker(0, "Anna")]


# --- hours ------------------------------------------------------------------------------------------------------------


def test_hours_of_ever_new_people_take_bounded_memory() -> None:
    chance = np.random.default_rng(0)
    strangers = [unit(chance.standard_normal(SIZE)) for _ in range(400)]
    voices = online()
    told = {one.number for stranger in strangers[:200] for one in tell(voices, (3.0, stranger)) if one}
    assert max(told) < MOST_VOICES
    tracemalloc.start()
    for stranger in strangers[200:]:
        tell(voices, (3.0, stranger))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 200_000


def texts(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def test_no_word_goes_missing() -> None:
    chunks, segments = piece((2.0, VOICES[0]), (1.0, VOICES[1]), (4.0, VOICES[2]))
    assert texts(online().tell(chunks, segments)) == segments[0].text
