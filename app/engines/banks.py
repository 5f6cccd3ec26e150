"""Filter banks as Kaldi computes them: what FunASR's models hear.

kaldi-native-fbank says what they are: window, triangles, floor. Its own loop takes several times as long as whole
arrays do and keeps every other thread of the process waiting, so that it computes only the few frames in which rounding
shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import kaldi_native_fbank as knf
import numpy as np

from app.domain.engines import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

Window = Literal["hamming", "povey"]

_MELS = 80
_LENGTH, _SHIFT, _FFT = 400, 160, 512
"""Samples of a frame, between frames, and of a transform."""
_EMPHASIS = np.float32(0.97)
_FLOOR = np.finfo(np.float32).eps
"""Kaldi's least energy: of digital silence, a logarithm is needed, too."""
_BLOCK = 256
"""Frames at once, so that they stay in the processor's cache: twice as fast as all of half a minute."""
_GROUP = 8
"""Mel bands multiplied at once. They share most of their bins, and the products stay so small that BLAS spends no
threads on them: the compute budget is spent across requests."""
_RANGE = 17.3
"""How far the bands of a frame may be apart: 75 dB, as a natural logarithm. A band further below is rounding: there the
two ways differ by up to 0.005, each as far from the true value."""


def filter_banks(samples: Samples, *, window: Window = "hamming", scale: float = 32768.0) -> Floats:
    """80 log mel energies for each 10 ms of 16 kHz sound: float32 of shape (frames, 80).

    `scale` is what samples in [-1, 1] are multiplied by: models were trained on 16-bit numbers, or on fractions.
    """
    frames = max(0, 1 + (len(samples) - _LENGTH) // _SHIFT)
    banks = np.zeros((frames, _MELS), np.float32)
    if not frames:
        return banks
    scaled = samples * np.float32(scale)
    framed = np.lib.stride_tricks.sliding_window_view(scaled, _LENGTH)[::_SHIFT]
    tables = _tables(window)
    for start in range(0, frames, _BLOCK):
        tables.compute(framed[start : start + _BLOCK], banks[start : start + _BLOCK])
    doubtful = np.flatnonzero(banks.max(axis=1) - banks.min(axis=1) > _RANGE)
    if len(doubtful):
        banks[doubtful] = _by_kaldi(framed[doubtful], window)
    return banks


@dataclass(frozen=True, slots=True)
class _Tables:
    """A window, float32 (400,), and the triangles of each group of mel bands: which bands, which bins, and weights,
    float32 (bins, bands). Immutable, so threads may share one."""

    window: Floats
    groups: tuple[tuple[slice, slice, Floats], ...]

    def compute(self, frames: Floats, banks: Floats) -> None:
        """Log mel energies of frames of samples, (n, 400), into `banks`, (n, 80)."""
        centred = frames - frames.mean(axis=1, keepdims=True)
        shaped = np.zeros((len(frames), _FFT), np.float32)
        shaped[:, 0] = centred[:, 0] * (1 - _EMPHASIS)
        np.subtract(centred[:, 1:], centred[:, :-1] * _EMPHASIS, out=shaped[:, 1:_LENGTH])
        shaped[:, :_LENGTH] *= self.window
        spectrum = np.fft.rfft(shaped, axis=1)
        power = spectrum.real**2
        power += spectrum.imag**2
        for bands, bins, weights in self.groups:
            banks[:, bands] = power[:, bins] @ weights
        np.log(np.maximum(banks, _FLOOR), out=banks)


@cache  # a pure function's: what it gives is never written to
def _tables(window: Window) -> _Tables:
    options = _options(window)
    triangles = np.array(knf.MelBanks(options.mel_opts, options.frame_opts, 1.0).get_matrix(), np.float32)
    groups: list[tuple[slice, slice, Floats]] = []
    for first in range(0, _MELS, _GROUP):
        bands = slice(first, first + _GROUP)
        used = np.flatnonzero(triangles[bands].any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        groups.append((bands, bins, np.ascontiguousarray(triangles[bands, bins].T)))
    return _Tables(np.array(knf.FeatureWindowFunction(options.frame_opts).window, np.float32), tuple(groups))


def _by_kaldi(frames: Floats, window: Window) -> Floats:
    """The library's own log mel energies of frames of samples that need not follow each other."""
    options = _options(window)
    options.frame_opts.frame_shift_ms = options.frame_opts.frame_length_ms
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, cast("list[float]", frames.ravel()))  # its stub knows lists only
    bank.input_finished()
    return np.stack([bank.get_frame(index) for index in range(len(frames))])


def _options(window: Window) -> knf.FbankOptions:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = _MELS
    return options
