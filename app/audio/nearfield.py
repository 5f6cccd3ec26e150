"""Voices at the microphone, and not those across the room: sound that is too quiet is no speech of interest.

A level says how near somebody is only roughly, so the bound is low, and lower still while somebody speaks: a sentence
may end softly. Nothing is taken out of the sound: what is too quiet neither begins an utterance nor prolongs one, and
the beginning of a word, which is always quiet, is heard with the rest of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

_HOP = 160
"""Samples between frames: 10 ms."""
_FRAMES = 20
"""Frames over which a level is taken: 200 ms, about a syllable."""
IN_SPEECH = 0.6
"""The bound while somebody speaks, as a part of the other one."""


class NearField:
    """Levels of one stream. `threshold` is an RMS of samples in [-1, 1]: 0.01 is -40 dBFS."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._samples = np.zeros(0, dtype=np.float32)  # of a frame that is not whole
        self._powers = np.zeros(0, dtype=np.float64)  # of the last frames

    def push(self, samples: Samples, *, speaking: bool) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which of the frames that `samples` complete are near enough, and the level (RMS) of each."""
        self._samples = np.concatenate([self._samples, samples])
        count = len(self._samples) // _HOP
        framed = self._samples[: count * _HOP].reshape(count, _HOP).astype(np.float64)
        self._samples = self._samples[count * _HOP :]
        powers = np.concatenate([self._powers, (framed**2).mean(axis=1)])
        sums = np.concatenate([[0.0], np.cumsum(powers)])
        last = np.arange(len(self._powers) + 1, len(powers) + 1)
        first = np.maximum(0, last - _FRAMES)
        levels = np.sqrt(np.maximum(0.0, sums[last] - sums[first]) / (last - first))
        self._powers = powers[-(_FRAMES - 1) :]
        return levels >= self._threshold * (IN_SPEECH if speaking else 1.0), levels
