"""Word times from warping paths: in order, inside the piece, never empty where there is room."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from app.domain.transcript import Word
from app.engines.whisper.alignment import FRAME_SECONDS, timed_words, token_starts
from app.engines.whisper.vocabulary import TokenWord


def path_of(*lengths: int) -> list[tuple[int, int]]:
    """A warping path on which token n (the end token last) stays for so many frames."""
    frame = itertools.count()
    return [(token, next(frame)) for token, length in enumerate(lengths) for _ in range(length)]


def words_of(*counts: int) -> list[TokenWord]:
    firsts = [0, *itertools.accumulate(counts)]
    return [
        TokenWord(f"w{index}", True, first, count)
        for index, (first, count) in enumerate(zip(firsts, counts, strict=False))
    ]


def timed(counts: tuple[int, ...], starts: np.ndarray, seconds: float) -> tuple[Word, ...]:
    total = sum(counts)
    return timed_words(words_of(*counts), list(range(total)), starts, [0.5] * total, seconds)


def test_a_token_starts_where_the_path_first_meets_it() -> None:
    np.testing.assert_allclose(token_starts(path_of(10, 5, 20, 1), 3), [0.0, 0.2, 0.3, 0.7])


def test_tokens_the_path_never_meets_start_at_its_end() -> None:
    np.testing.assert_allclose(token_starts(path_of(10, 5), 4), [0.0, 0.2, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(token_starts([], 2), [0.0, 0.0, 0.0])


def test_a_word_lasts_from_its_first_token_to_the_next_word() -> None:
    starts = np.array([0.1, 0.3, 0.5, 0.8, 1.2])
    one, two = timed((2, 2), starts, 2.0)
    assert (one.start, one.end) == (0.1, 0.5)
    assert (two.start, two.end) == (0.5, 1.2)
    assert (one.tokens, two.tokens) == ((0, 1), (2, 3))
    assert one.confidence == 0.5


def test_confidence_is_the_mean_of_the_words_tokens() -> None:
    words = timed_words(words_of(2, 1), [7, 8, 9], np.array([0.0, 0.2, 0.4, 0.6]), [0.2, 0.6, 0.9], 1.0)
    assert [word.confidence for word in words] == [pytest.approx(0.4), 0.9]


def test_a_word_that_lingers_over_a_pause_is_shortened() -> None:
    starts = np.array([0.0, 0.3, 0.6, 3.6, 3.9, 4.2])
    words = timed((1, 1, 1, 1, 1), starts, 5.0)
    assert words[2].start == 0.6
    assert words[2].end == pytest.approx(0.6 + 0.9)
    assert words[3].start == 3.6


def test_a_first_word_that_waits_for_the_speech_keeps_its_end() -> None:
    words = timed((1, 1, 1), np.array([0.0, 3.0, 3.3, 3.6]), 5.0)
    assert words[0].end == 3.0
    assert words[0].start == pytest.approx(2.1)


def test_slow_speech_is_not_shortened() -> None:
    starts = np.arange(6) * 1.5
    words = timed((1,) * 5, starts, 10.0)
    assert [word.end - word.start for word in words] == [pytest.approx(1.5)] * 5


@pytest.mark.parametrize("seed", range(100))
def test_whatever_the_path_words_are_in_order_and_inside(seed: int) -> None:
    chance = random.Random(seed)
    counts = tuple(chance.randint(1, 3) for _ in range(chance.randint(1, 20)))
    lengths = [chance.choice([0, 1, 5, 30, 200]) for _ in range(sum(counts))]
    starts = np.array([0, *itertools.accumulate(lengths)]) * FRAME_SECONDS
    seconds = float(starts[-1]) * chance.choice([0.7, 1.0, 1.2]) + 1.0
    words = timed(counts, starts, seconds)
    assert len(words) == len(counts)
    assert words[0].start >= 0
    assert words[-1].end <= seconds
    for before, after in itertools.pairwise(words):
        assert before.end <= after.start
    assert all(word.end >= word.start for word in words)
    roomy = [word for word in words if word.start <= seconds - FRAME_SECONDS]
    assert all(word.end - word.start >= FRAME_SECONDS - 1e-9 for word in roomy)


def test_no_words_are_no_error() -> None:
    assert timed_words([], [], np.array([0.0]), [], 1.0) == ()
