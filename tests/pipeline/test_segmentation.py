"""Cutting: all of the speech, nothing of long silences, never longer than allowed, whatever the speech looks like."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import numpy as np
import pytest

from app.domain.engines import SAMPLE_RATE, SpeechSpan
from app.pipeline.segmentation import MAX_SILENCE, PADDING, Cut, cut, quietest

TINY = 1e-6


@dataclass(frozen=True)
class Loudness:
    """A sound that is loud everywhere but where it is told to be silent."""

    duration: float
    quiet: tuple[tuple[float, float], ...] = ()

    def piece(self, start: float, end: float) -> np.ndarray:
        first, last = round(start * SAMPLE_RATE), round(min(end, self.duration) * SAMPLE_RATE)
        sound = np.full(max(0, last - first), 0.5, np.float32)
        for began, ended in self.quiet:
            sound[max(0, round(began * SAMPLE_RATE) - first) : max(0, round(ended * SAMPLE_RATE) - first)] = 0
        return sound


def spans(*pairs: tuple[float, float]) -> list[SpeechSpan]:
    return [SpeechSpan(start, end) for start, end in pairs]


def random_speech(seed: int) -> tuple[Loudness, list[SpeechSpan], float]:
    """A recording of random spans and pauses, and a random limit for its pieces."""
    chance = random.Random(seed)
    clock = chance.choice([0.0, chance.uniform(0, 5)])
    found: list[SpeechSpan] = []
    for _ in range(chance.randint(1, 30)):
        length = chance.choice([0.18, 1.0, 4.0, 12.0, 50.0]) * chance.uniform(0.5, 1.5)
        found.append(SpeechSpan(clock, clock + length))
        clock += length + chance.choice([0.3, 0.6, 1.5, 2.9, 3.1, 10.0])
    duration = found[-1].end + chance.choice([0.0, 0.2, 8.0])
    return Loudness(duration), found, chance.choice([1.0, 2.0, 5.0, 14.8, 29.8, 90.0])


def check(cuts: list[Cut], found: list[SpeechSpan], sound: Loudness, longest: float) -> None:
    """What holds for every cutting."""
    for piece in cuts:
        assert 0 <= piece.start <= piece.spans[0].start
        assert piece.spans[-1].end <= piece.end <= sound.duration + TINY
        assert 0 < piece.end - piece.start <= longest + TINY
        for before, after in itertools.pairwise(piece.spans):
            assert after.start - before.end <= MAX_SILENCE
    for before, after in itertools.pairwise(cuts):
        assert before.end <= after.start + TINY
    assert merged([span for piece in cuts for span in piece.spans]) == merged(found)


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
def test_any_speech_is_cut_well(seed: int) -> None:
    sound, found, longest = random_speech(seed)
    check(cut(sound, found, longest), found, sound, longest)


def test_no_speech_makes_no_pieces() -> None:
    assert cut(Loudness(60), [], 15) == []


def test_short_spans_are_merged_into_one_piece_with_padding() -> None:
    found = spans((2.0, 4.0), (5.0, 7.0), (8.0, 10.0))
    assert cut(Loudness(30), found, 15) == [Cut(2.0 - PADDING, 10.0 + PADDING, tuple(found))]


def test_padding_ends_where_the_recording_does() -> None:
    (piece,) = cut(Loudness(3.1), spans((0.2, 3.0)), 15)
    assert (piece.start, piece.end) == (0.0, 3.1)


def test_a_long_silence_always_ends_a_piece() -> None:
    assert len(cut(Loudness(30), spans((1, 2), (4.9, 6)), 15)) == 1
    first, second = cut(Loudness(30), spans((1, 2), (5.1, 6)), 15)
    assert first.end == 2 + PADDING
    assert second.start == 5.1 - PADDING


def test_neighbours_share_the_pause_between_them() -> None:
    # 0.6 s of pause: each piece gets half of it.
    first, second = cut(Loudness(30), spans((0.5, 9.0), (9.6, 19.0)), 12)
    assert first.end == second.start == pytest.approx(9.3)


def test_a_full_piece_ends_at_its_widest_late_pause() -> None:
    found = spans((0, 3), (5, 9), (9.3, 10), (11.2, 12), (12.3, 16))
    first, second = cut(Loudness(16), found, 15)
    assert len(first.spans) == 3, "at 10.0-11.2, not at the wider but early 3-5, nor at the later but narrow 12.0-12.3"
    assert len(second.spans) == 2


def test_an_early_pause_is_better_than_none() -> None:
    first, second = cut(Loudness(20), spans((0, 2), (3, 16)), 15)
    assert (len(first.spans), len(second.spans)) == (1, 1)


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    sound = Loudness(20, quiet=((4.0, 4.3), (10.0, 10.3)))
    pieces = cut(sound, spans((0, 20)), 15)
    assert len(pieces) == 2
    assert pieces[0].end == pieces[1].start
    assert 10.0 < pieces[0].end < 10.3, "the quiet place late in the piece, not the early one"


def test_of_equally_quiet_places_the_last_is_taken() -> None:
    silence = Loudness(60, quiet=((0.0, 60.0),))
    assert quietest(silence, 9.0, 15.0) == pytest.approx(15.0 - 0.08, abs=0.02)


def test_where_nothing_can_be_compared_the_middle_is_taken() -> None:
    assert quietest(Loudness(60), 5.0, 5.1) == 5.05
    assert quietest(Loudness(0.0), 5.0, 6.0) == 5.5


@pytest.mark.parametrize("longest", [0.2, 1.0])
def test_a_tiny_limit_still_ends(longest: float) -> None:
    sound, found = Loudness(12.0), spans((0.1, 10.0), (10.4, 11.9))
    cuts = cut(sound, found, longest)
    check(cuts, found, sound, longest)
    assert len(cuts) < 12 / (longest / 2 * 0.6) + 2


def test_hours_are_cut_in_time() -> None:
    found = [SpeechSpan(index * 6.0, index * 6.0 + 5.5) for index in range(5000)]
    cuts = cut(Loudness(30_000.0), found, 14.8)
    check(cuts, found, Loudness(30_000.0), 14.8)
    assert 2000 < len(cuts) < 3000
