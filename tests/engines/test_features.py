"""Log mel spectrograms against the definition, written down as slowly as it reads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.engines.whisper.features import HOP, LogMel

RATE = 16_000
SIZE = 400
BANDS = 80


def to_mel(hertz: float) -> float:
    """Slaney's scale: linear up to 1 kHz, then 27 steps for each factor of 6.4."""
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def to_hertz(mel: float) -> float:
    return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def filter_weight(band: int, bin_: int) -> float:
    """A triangle between its neighbours' centres whose area is one."""
    step = to_mel(RATE / 2) / (BANDS + 1)
    low, centre, high = (to_hertz((band + offset) * step) for offset in range(3))
    hertz = bin_ * RATE / SIZE
    height = min((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    return max(0.0, height) * 2 / (high - low)


def by_definition(samples: np.ndarray, frames: int) -> np.ndarray:
    """Windowed Fourier transforms centred on every 10 ms, filtered, in bels, clipped 8 bels below the top."""
    sound = np.zeros(frames * HOP + SIZE)
    sound[: len(samples)] = samples
    times = np.arange(SIZE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * times / SIZE)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(SIZE // 2 + 1), times) / SIZE)
    filters = np.array([[filter_weight(band, bin_) for bin_ in range(SIZE // 2 + 1)] for band in range(BANDS)])
    bels = np.empty((BANDS, frames))
    for frame in range(frames):
        at = np.abs(np.arange(frame * HOP - SIZE // 2, frame * HOP + SIZE // 2))  # mirrored before the beginning
        power = np.abs(waves @ (sound[at] * window)) ** 2
        bels[:, frame] = np.log10(np.maximum(filters @ power, 1e-10))
    return (np.maximum(bels, bels.max() - 8) + 4) / 4


@pytest.mark.parametrize("seconds", [0.1, 0.733, 1.9])
def test_the_spectrogram_is_the_definition(seconds: float) -> None:
    chance = np.random.default_rng(7)
    times = np.arange(round(seconds * RATE)) / RATE
    samples = 0.3 * np.sin(2 * np.pi * (300 + 900 * times) * times) + chance.normal(0, 0.01, len(times))
    ours = LogMel(BANDS)(samples.astype(np.float32), 2.0)
    assert ours.shape == (BANDS, 200)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, by_definition(samples, 200), atol=2e-3)


def test_speech_gives_the_same_spectrogram_as_the_definition(call: np.ndarray) -> None:
    samples = call[10 * RATE : 12 * RATE]
    np.testing.assert_allclose(LogMel(BANDS)(samples, 3.0), by_definition(samples, 300), atol=2e-3)


@pytest.mark.parametrize("window", [15.0, 30.0])
def test_the_window_only_adds_silence(window: float) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    log_mel = LogMel(BANDS)
    padded = log_mel(samples, window)
    assert padded.shape == (BANDS, round(window * 100))
    np.testing.assert_array_equal(padded[:, :200], log_mel(samples, 4.0)[:, :200])
    assert np.unique(padded[:, 210:]).size == 1, "silence has one value"
    assert padded[:, 210:].max() == padded.min()


def test_values_span_two_at_most() -> None:
    samples = np.random.default_rng(2).normal(0, 0.2, RATE).astype(np.float32)
    mel = LogMel(BANDS)(samples, 15.0)
    assert mel.max() - mel.min() <= 2.0 + 1e-6


def test_twice_as_loud_is_a_constant_more() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, RATE).astype(np.float32)
    log_mel = LogMel(BANDS)
    difference = log_mel(2 * samples, 1.0) - log_mel(samples, 1.0)
    np.testing.assert_allclose(difference, np.log10(4) / 4, atol=1e-5)


@pytest.mark.parametrize("hertz", [100, 440, 1000, 3000, 7000])
def test_a_tone_is_loudest_in_its_own_band(hertz: int) -> None:
    samples = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    band = int(np.argmax(LogMel(BANDS)(samples, 1.0)[:, 50]))
    step = to_mel(RATE / 2) / (BANDS + 1)
    assert to_hertz(band * step) <= hertz <= to_hertz((band + 2) * step)


@pytest.mark.parametrize("count", [0, 1, 100, 399, 401])
def test_hardly_any_sound_is_no_error(count: int) -> None:
    mel = LogMel(BANDS)(np.full(count, 0.1, np.float32), 15.0)
    assert np.isfinite(mel).all()


def test_other_models_have_other_numbers_of_bands() -> None:
    assert LogMel(128)(np.zeros(RATE, np.float32), 30.0).shape == (128, 3000)
