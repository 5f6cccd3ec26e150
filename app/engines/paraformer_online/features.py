"""What streaming Paraformer hears: the features of the recogniser for whole pieces, made of sound that is still coming,
with the position of each in the utterance added to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure
from app.engines.banks import filter_banks
from app.engines.folders import Normalisation
from app.engines.paraformer.files import read_front_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

_SHIFT = 160
"""Samples between filter-bank frames."""
_MELS = 80
_SLOWEST = np.log(np.float32(10_000))
"""The logarithm of the longest of the waves that positions are written in, to the shortest."""


class FrontEnd:
    """How sound becomes features. Immutable; what a stream needs is in its `FeatureStream`.

    Raises:
        EngineFailure: config.yaml or am.mvn of `folder` cannot be used.
    """

    def __init__(self, folder: Path, width: int) -> None:
        """`width` is the encoder's: features are scaled to it."""
        config = read_front_end(folder)
        if config.mels != _MELS:
            raise EngineFailure(f"config.yaml asks for {config.mels} mel bands; {_MELS} are served.")
        self.stacked, self.stride = config.stacked, config.stride
        self.size = config.stacked * config.mels
        self._normalisation = Normalisation.read(folder / "am.mvn", self.size)
        self._scale = np.float32(width**0.5)
        half = self.size // 2
        steps = np.arange(half, dtype=np.float32)
        self._rates = np.exp(steps * (-_SLOWEST / np.float32(half - 1)))

    @property
    def samples(self) -> int:
        """Samples from one feature to the next."""
        return self.stride * _SHIFT

    def placed(self, banks: Floats, start: int) -> Floats:
        """Stacked filter banks, float32 (n, size), as the encoder takes those from number `start` (0 is the first)."""
        positions = np.arange(start + 1, start + 1 + len(banks), dtype=np.float32)[:, None] * self._rates
        waves = np.concatenate([np.sin(positions), np.cos(positions)], axis=1)
        return self._normalisation(banks) * self._scale + waves


class FeatureStream:
    """Features of one utterance. The first and the last frame are repeated where a feature reaches beyond them."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        self._sound = np.zeros(0, np.float32)
        self._banks = np.zeros((0, _MELS), np.float32)
        self._given = 0

    def push(self, samples: Samples, *, last: bool) -> Floats:
        """Those that are complete with these samples, or with `last` all that are left: float32 (n, size)."""
        stacked, stride = self._front_end.stacked, self._front_end.stride
        around = (stacked - 1) // 2
        sound = np.concatenate([self._sound, samples])
        fresh = filter_banks(sound)
        self._sound = sound[len(fresh) * _SHIFT :]
        if not self._given and not len(self._banks):
            fresh = np.concatenate([np.repeat(fresh[:1], around, axis=0), fresh])
        banks = np.concatenate([self._banks, fresh])
        reach = around + 1 if last else stacked  # what a feature needs from its first frame on
        count = max(0, (len(banks) - reach) // stride + 1)
        frames = np.arange(count)[:, None] * stride + np.arange(stacked)
        windows = banks[np.minimum(frames, len(banks) - 1)].reshape(count, self._front_end.size)
        self._banks = banks[count * stride :]
        self._given += count
        return self._front_end.placed(windows, self._given - count)
