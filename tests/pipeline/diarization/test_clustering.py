"""Voices from embeddings: as many as there are, or as many as are wanted, however long the recording."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.diarization.clustering import BLOCK, Voices, find_voices

SIZE = 192


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def people(number: int, seed: int = 0) -> np.ndarray:
    """Voices that have nothing in common."""
    square, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
    return square[:number].astype(np.float32)


def said(voices: np.ndarray, who: list[int], noise: float = 0.6, seed: int = 1) -> np.ndarray:
    """An embedding of each, `noise` beside a voice's 1: at 0.6, two of one voice are 0.74 alike."""
    beside = unit(np.random.default_rng(seed).standard_normal((len(who), SIZE)))
    return unit(voices[who] + noise * beside)


def in_turn(number: int, times: int) -> list[int]:
    return [person for _ in range(times) for person in range(number)]


def long(embeddings: np.ndarray, seconds: float = 1.6) -> np.ndarray:
    return np.full(len(embeddings), seconds, np.float32)


def recognised(found: Voices, voices: np.ndarray) -> list[int]:
    """Which of `voices` each of the found ones is."""
    alike = found.centroids @ voices.T
    assert (alike.max(axis=1) > 0.8).all()
    return alike.argmax(axis=1).tolist()


def alike(one: np.ndarray, other: np.ndarray, cosine: float) -> np.ndarray:
    """A voice that is so much like `one`, the rest of it like `other`."""
    return unit(cosine * one + np.sqrt(1 - cosine**2) * other)


# --- how many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3, 5, 10, 20])
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.7])
def test_as_many_as_there_are(number: int, noise: float) -> None:
    voices = people(number)
    embeddings = said(voices, in_turn(number, 8), noise)
    found = find_voices(embeddings, long(embeddings))
    assert sorted(recognised(found, voices)) == list(range(number))
    assert found.seconds == pytest.approx([8 * 1.6] * number)
    assert np.linalg.norm(found.centroids, axis=1) == pytest.approx([1.0] * number, abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_as_many_as_are_wanted(count: int) -> None:
    embeddings = said(people(4), in_turn(4, 6))
    assert len(find_voices(embeddings, long(embeddings), count=count)) == count


@pytest.mark.parametrize(
    ("least", "most", "number"), [(1, None, 4), (1, 2, 2), (1, 4, 4), (6, None, 6), (2, 3, 3), (5, 9, 5)]
)
def test_from_least_to_most(least: int, most: int | None, number: int) -> None:
    embeddings = said(people(4), in_turn(4, 6))
    assert len(find_voices(embeddings, long(embeddings), least=least, most=most)) == number


def test_fewer_are_wanted_and_the_most_alike_are_one() -> None:
    one, other, third = people(3)
    voices = np.stack([one, alike(one, other, 0.4), third])
    embeddings = said(voices, in_turn(3, 5), noise=0.1)
    found = find_voices(embeddings, long(embeddings), count=2)
    assert sorted(found.seconds.tolist()) == pytest.approx([5 * 1.6, 10 * 1.6])
    assert max(found.centroids @ third) > 0.95


def test_more_are_wanted_and_who_sounds_alike_is_told_apart() -> None:
    one, other = people(2)
    voices = np.stack([one, alike(one, other, 0.8)])
    embeddings = said(voices, in_turn(2, 5), noise=0.1)
    assert len(find_voices(embeddings, long(embeddings))) == 1
    found = find_voices(embeddings, long(embeddings), count=2)
    assert sorted(found.seconds.tolist()) == pytest.approx([5 * 1.6, 5 * 1.6])


def test_no_more_voices_than_embeddings() -> None:
    embeddings = said(people(3), [0, 1, 2])
    assert len(find_voices(embeddings, long(embeddings), count=10)) == 3
    assert len(find_voices(embeddings, long(embeddings), least=10)) == 3


def test_one_embedding_is_one_voice() -> None:
    voices = people(1)
    for wishes in ({}, {"count": 1}, {"count": 3}, {"least": 2}, {"most": 1}):
        found = find_voices(voices, long(voices), **wishes)
        assert np.allclose(found.centroids, voices)


def test_all_equal_are_one_voice() -> None:
    embeddings = np.repeat(people(1), 700, axis=0)
    found = find_voices(embeddings, long(embeddings))
    assert len(found) == 1
    assert found.seconds[0] == pytest.approx(700 * 1.6, rel=1e-4)


# --- short sounds -----------------------------------------------------------------------------------------------------


def test_less_than_a_second_makes_no_speaker_where_there_is_more() -> None:
    voices = people(3)
    embeddings = said(voices, [0, 0, 1, 1, 2])
    seconds = np.array([1.6, 1.6, 1.6, 1.6, 0.9], np.float32)
    assert sorted(recognised(find_voices(embeddings, seconds), voices)) == [0, 1]


def test_short_sounds_are_all_there_is() -> None:
    embeddings = said(people(2), [0, 1, 0, 1])
    assert len(find_voices(embeddings, long(embeddings, 0.5))) == 2
    assert len(find_voices(embeddings, np.array([1.6, 0.5, 0.5, 0.5], np.float32), count=2)) == 2


@pytest.mark.parametrize(
    ("similarity", "seconds", "kept"),
    [(0.4, 1.6, False), (0.3, 1.6, True), (0.3, 1.2, False), (0.2, 1.2, True), (0.0, 1.0, True)],
)
def test_a_voice_heard_briefly_is_another_s_unless_it_is_a_stranger(
    similarity: float, seconds: float, kept: bool
) -> None:
    one, other = people(2)
    embeddings = np.stack([one] * 5 + [alike(one, other, similarity)])
    found = find_voices(embeddings, np.array([1.6] * 5 + [seconds], np.float32))
    assert len(found) == (2 if kept else 1)
    assert found.seconds.sum() == pytest.approx(5 * 1.6 + seconds)


def test_a_voice_heard_for_long_enough_is_kept() -> None:
    one, other = people(2)
    embeddings = np.stack([one] * 5 + [alike(one, other, 0.4)] * 2)
    assert len(find_voices(embeddings, long(embeddings))) == 2


# --- long recordings --------------------------------------------------------------------------------------------------


def test_voices_are_one_across_blocks() -> None:
    voices = people(5)
    embeddings = said(voices, in_turn(5, BLOCK))
    found = find_voices(embeddings, long(embeddings))
    assert sorted(recognised(found, voices)) == [0, 1, 2, 3, 4]
    assert found.seconds == pytest.approx([BLOCK * 1.6] * 5, rel=1e-3)


@pytest.mark.parametrize("extra", [1, 2, BLOCK // 2])
def test_the_last_block_may_be_small(extra: int) -> None:
    voices = people(3)
    who = [0, 1] * (BLOCK // 2) + [2] * extra
    embeddings = said(voices, who)
    found = find_voices(embeddings, long(embeddings))
    assert sorted(recognised(found, voices)) == [0, 1, 2], "somebody who comes at the end is heard"
    assert len(find_voices(embeddings, long(embeddings), count=2)) == 2
    assert len(find_voices(embeddings, long(embeddings), count=5)) == 5


def test_the_order_of_time_does_not_matter() -> None:
    voices = people(4)
    who = np.repeat([0, 1, 2, 3], [400, 200, 100, 20])
    embeddings = said(voices, who.tolist())
    usual = sorted(find_voices(embeddings, long(embeddings)).seconds.tolist())
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(who))
        found = find_voices(embeddings[order], long(embeddings))
        assert sorted(found.seconds.tolist()) == pytest.approx(usual, rel=1e-3)


def test_a_day_of_speech_takes_little_memory() -> None:
    voices = people(8)
    embeddings = said(voices, in_turn(8, 2500))
    assert len(embeddings) == 20_000
    tracemalloc.start()
    try:
        found = find_voices(embeddings, long(embeddings))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 8
    assert peak < 3 * embeddings.nbytes


# --- anything ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_anything_makes_voices(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 40), "embeddings")
    seed = data.draw(st.integers(0, 10**6), "seed")
    kinds = data.draw(st.integers(1, number), "kinds")
    noise = data.draw(st.sampled_from([0.0, 0.3, 1.0, 3.0]), "noise")
    count = data.draw(st.one_of(st.none(), st.integers(1, 45)), "count")
    least = data.draw(st.integers(1, 45), "least")
    most = data.draw(st.one_of(st.none(), st.integers(least, 50)), "most")
    chance = np.random.default_rng(seed)
    who = chance.integers(0, kinds, number).tolist()
    embeddings = said(people(kinds, seed), who, noise, seed)
    seconds = chance.uniform(0.2, 1.6, number).astype(np.float32)
    found = find_voices(embeddings, seconds, count=count, least=least, most=most)
    assert 1 <= len(found) <= number
    assert len(found.seconds) == len(found.centroids)
    assert np.isfinite(found.centroids).all()
    assert found.seconds.sum() <= seconds.sum() * 1.001
    if noise:  # equals cannot be told apart, whoever wants it
        if count is not None:
            assert len(found) == min(count, number)
        else:
            assert len(found) >= min(least, number)
    if count is None and most is not None:
        assert len(found) <= most


def test_a_stranger_does_not_keep_other_short_voices() -> None:
    voices = people(3)
    similar = alike(voices[0], voices[1], 0.4)
    embeddings = unit(np.stack([voices[0]] * 10 + [similar, voices[2]]))
    seconds = np.array([1.6] * 11 + [1.2], np.float32)
    assert len(find_voices(embeddings[:-1], seconds[:-1])) == 1
    assert len(find_voices(embeddings, seconds)) == 2


def test_thousands_of_voices_are_bounded() -> None:
    embeddings = unit(np.random.default_rng(5).normal(size=(5000, 192)).astype(np.float32))
    assert len(find_voices(embeddings, long(embeddings))) <= 300  # unbounded, this would not end within a test's time
