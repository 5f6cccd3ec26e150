"""Whisper's input: log mel spectrograms of 16 kHz sound, as the model card defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SAMPLE_RATE = 16_000
HOP = 160
_FFT = 400


class LogMel:
    """Log mel spectrograms with `bands` mel bands. Immutable, so threads may share one."""

    def __init__(self, bands: int) -> None:
        self._filters = _mel_filters(bands)
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)

    def __call__(self, samples: Floats, seconds: float) -> Floats:
        """float32 of shape (bands, 100 * seconds): the samples, padded with silence to `seconds` or cut there."""
        frames = round(seconds * SAMPLE_RATE) // HOP
        # Only the frames that touch sound are computed; silence has one constant value, filled in below.
        heard = min(frames, len(samples) // HOP + 3)
        padded = np.pad(samples, (0, max(0, heard * HOP + _FFT - len(samples))))
        padded = np.pad(padded, (_FFT // 2, 0), mode="reflect")
        strided = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[: heard * HOP : HOP]
        power = np.abs(np.fft.rfft(strided * self._window, axis=1)).astype(np.float32) ** 2
        mel = np.full((self._filters.shape[0], frames), -10.0, dtype=np.float32)
        mel[:, :heard] = np.log10(np.maximum(self._filters @ power.T, 1e-10))
        np.maximum(mel, mel.max() - 8.0, out=mel)
        return (mel + 4.0) / 4.0


def _mel_filters(bands: int) -> Floats:
    """Triangles of equal area on Slaney's mel scale (linear to 1 kHz, then logarithmic): shape (bands, 201)."""
    edges = _slaney_to_hertz(np.linspace(0.0, _hertz_to_slaney(SAMPLE_RATE / 2), bands + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_LINEAR = 200.0 / 3
_KNEE_HERTZ = 1000.0
_KNEE_MEL = _KNEE_HERTZ / _LINEAR
_LOG_STEP = np.log(6.4) / 27.0


def _hertz_to_slaney(hertz: float) -> float:
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HERTZ) / _LOG_STEP) if hertz >= _KNEE_HERTZ else hertz / _LINEAR


def _slaney_to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels >= _KNEE_MEL, _KNEE_HERTZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)), mels * _LINEAR)
