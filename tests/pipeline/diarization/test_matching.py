"""How alike voices are."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.speakers import KnownVoice, Voiceprint
from app.pipeline.diarization.matching import best_first, similarity

from ..stubs import VOICES


def sample(*parts: float, seconds: float = 2.0) -> Voiceprint:
    """An embedding with these first numbers; its length is not one, as if it had been rounded."""
    embedding = np.zeros(192, np.float32)
    embedding[: len(parts)] = parts
    return Voiceprint(embedding, seconds, "encoder")


def known(*samples: Voiceprint, name: str = "Anna") -> KnownVoice:
    return KnownVoice(name, samples)


def test_a_voice_is_like_itself_and_unlike_its_opposite() -> None:
    assert similarity(known(sample(1, 2, 3)), sample(2, 4, 6)) == pytest.approx(1.0)
    assert similarity(known(sample(1)), sample(0, 1)) == pytest.approx(0.0)
    assert similarity(known(sample(1)), sample(-3)) == pytest.approx(-1.0)
    assert similarity(known(sample(1)), sample(3, 4)) == pytest.approx(0.6)


def test_it_is_never_more_than_one() -> None:
    embedding = np.random.default_rng(1).standard_normal(192).astype(np.float32)
    for scale in (1e-3, 1.0, 7.3):
        voice = Voiceprint(embedding * np.float32(scale), 1.0, "encoder")
        assert similarity(known(voice, voice, voice), voice) <= 1.0


def test_longer_samples_say_more() -> None:
    voice = known(sample(1, seconds=9.0), sample(0, 1, seconds=1.0))
    assert similarity(voice, sample(1)) == pytest.approx(9 / np.hypot(9, 1))
    assert similarity(voice, sample(0, 1)) == pytest.approx(1 / np.hypot(9, 1))


def test_a_loud_embedding_says_no_more() -> None:
    voice = known(sample(100), sample(0, 1))
    assert similarity(voice, sample(1)) == pytest.approx(similarity(voice, sample(0, 1)))


def test_without_a_direction_it_is_like_nothing() -> None:
    assert similarity(known(), sample(1)) == 0.0
    assert similarity(known(sample(1), sample(-1)), sample(1)) == 0.0
    assert similarity(known(sample(1)), sample()) == 0.0


def test_the_most_alike_comes_first_and_equals_in_order() -> None:
    voices = [known(Voiceprint(VOICES[place], 2.0, "encoder"), name=f"{place}") for place in (3, 1, 0, 2)]
    ranked = best_first(voices, sample(3, 4))
    assert [voice.name for voice, _ in ranked] == ["1", "0", "3", "2"]
    assert [alike for _, alike in ranked] == pytest.approx([0.8, 0.6, 0.0, 0.0])
    assert best_first([], sample(1)) == []
