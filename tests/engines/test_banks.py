"""Filter banks: one frame for each 10 ms, energy where the pitch is, the same for every piece of sound."""

from __future__ import annotations

from collections.abc import Callable

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soxr
from models.speech import utterances

from app.engines.banks import filter_banks

RATE = 16_000


def tone(pitch: float, seconds: float = 1.0, loudness: float = 0.5) -> np.ndarray:
    return (loudness * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98), (160_000, 998)]
)
@pytest.mark.parametrize("window", ["hamming", "povey"])
def test_a_frame_for_each_ten_milliseconds(samples: int, frames: int, window: str) -> None:
    banks = filter_banks(np.zeros(samples, np.float32), window=window)
    assert banks.shape == (frames, 80)
    assert banks.dtype == np.float32
    assert np.isfinite(banks).all()


def test_energy_is_where_the_pitch_is() -> None:
    places = [int(filter_banks(tone(pitch)).mean(axis=0).argmax()) for pitch in (200, 500, 1000, 2000, 4000, 7000)]
    assert places == sorted(places)
    assert len(set(places)) == 6
    assert places[0] < 10
    assert places[-1] > 70


@pytest.mark.parametrize("window", ["hamming", "povey"])
def test_loudness_and_scale_add_the_same_to_every_band(window: str) -> None:
    usual = filter_banks(tone(500), window=window)
    quiet = filter_banks(tone(500, loudness=0.25), window=window)
    strong = (usual > 5) & (quiet > 5)
    assert np.allclose((usual - quiet)[strong], 2 * np.log(2), atol=0.01)
    fractions = filter_banks(tone(500) * 1024, window=window, scale=32.0)
    assert np.allclose(fractions, usual, atol=1e-3)


def test_windows_differ() -> None:
    assert not np.allclose(filter_banks(tone(500), window="hamming"), filter_banks(tone(500), window="povey"))


def test_a_frame_does_not_depend_on_what_is_around_it() -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, RATE).astype(np.float32)
    assert np.allclose(filter_banks(sound)[20:30], filter_banks(sound[20 * 160 : 29 * 160 + 400]), atol=1e-4)
    assert np.array_equal(filter_banks(sound), filter_banks(sound)), "nothing is dithered"


def by_kaldi(samples: np.ndarray, window: str, scale: float) -> np.ndarray:
    """What the library gives when it computes all of it, frame by frame."""
    options = knf.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type, options.mel_opts.num_bins = 0.0, window, 80
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(RATE, samples * np.float32(scale))
    bank.input_finished()
    return np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])


def speech() -> np.ndarray:
    return np.concatenate([one.samples for one in utterances(8, 3)])


def by_telephone() -> np.ndarray:
    """Upper bands that are next to nothing: rounding is all there is in them."""
    return soxr.resample(soxr.resample(speech(), RATE, 8000), 8000, RATE).astype(np.float32)


def in_16_bit() -> np.ndarray:
    return (np.round(by_telephone() * 32768) / 32768).astype(np.float32)


def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, 5 * RATE).astype(np.float32)


def quiet() -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(RATE) / 32768).astype(np.float32)


def click() -> np.ndarray:
    return np.eye(1, RATE, 800, dtype=np.float32)[0]


@pytest.mark.parametrize(
    "sound", [speech, by_telephone, in_16_bit, noise, quiet, click, lambda: tone(500), lambda: np.full(RATE, 0.5, "f4")]
)
@pytest.mark.parametrize(("window", "scale"), [("hamming", 32768.0), ("povey", 1.0)])
def test_it_is_what_the_library_gives(sound: Callable[[], np.ndarray], window: str, scale: float) -> None:
    samples = sound()
    difference = np.abs(filter_banks(samples, window=window, scale=scale) - by_kaldi(samples, window, scale))
    assert difference.max() < 1e-3
    assert difference.mean() < 2e-5
