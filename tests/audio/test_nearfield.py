"""What is near enough to be a voice at the microphone."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio.nearfield import IN_SPEECH, NearField


def tone(level: float, seconds: float) -> np.ndarray:
    """A hum whose RMS is `level`."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (level * np.sqrt(2) * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


@pytest.mark.parametrize("level", [0.001, 0.008, 0.012, 0.3])
def test_a_level_is_compared_with_the_bound(level: float) -> None:
    near, levels = NearField(0.01).push(tone(level, 1.0), speaking=False)
    assert len(near) == len(levels) == 100
    assert levels == pytest.approx(level, rel=0.02)
    assert near.all() if level > 0.01 else not near.any()


def test_who_speaks_may_end_softly() -> None:
    soft = tone(0.01 * (IN_SPEECH + 0.1), 0.5)
    assert not NearField(0.01).push(soft, speaking=False)[0].any()
    assert NearField(0.01).push(soft, speaking=True)[0].all()


def test_a_click_is_no_voice() -> None:
    click = np.zeros(16_000, np.float32)
    click[8_000:8_016] = 0.05
    assert not NearField(0.01).push(click, speaking=False)[0].any()


@pytest.mark.parametrize("block", [1, 100, 160, 1601])
def test_it_does_not_matter_how_sound_arrives(block: int) -> None:
    sound = np.concatenate([tone(0.003, 0.3), tone(0.05, 0.4), tone(0.003, 0.3)])
    whole, pieces = NearField(0.01), NearField(0.01)
    expected = whole.push(sound, speaking=False)[0]
    heard = [pieces.push(sound[start : start + block], speaking=False)[0] for start in range(0, len(sound), block)]
    assert np.concatenate(heard).tolist() == expected.tolist()
    assert 0 < expected.sum() < len(expected)
