"""What Paraformer hears: Kaldi's filter banks, several frames stacked, normalised."""

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

_FRAME = 0.01
"""Seconds between filter-bank frames."""
_FRAME_SAMPLES = 400
_MELS = 80


class FrontEnd:
    """Features of one piece at a time. Thread-safe.

    Raises:
        EngineFailure: config.yaml or am.mvn of `folder` cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        config = read_front_end(folder)
        if config.mels != _MELS:
            raise EngineFailure(f"config.yaml asks for {config.mels} mel bands; {_MELS} are served.")
        self._stacked, self._stride = config.stacked, config.stride
        self.size = config.stacked * config.mels
        self._normalisation = Normalisation.read(folder / "am.mvn", self.size)

    @property
    def seconds(self) -> float:
        """Time between two features."""
        return self._stride * _FRAME

    def __call__(self, samples: Samples) -> Floats:
        """Features of float32 mono 16 kHz samples in [-1, 1]: float32 of shape (frames, size)."""
        if len(samples) < _FRAME_SAMPLES:
            samples = np.pad(samples, (0, _FRAME_SAMPLES - len(samples)))
        return self._normalisation(self._stack(filter_banks(samples)))

    def _stack(self, banks: Floats) -> Floats:
        """Low frame rate: the `stacked` frames around every `stride`-th; the ends repeat their own frame."""
        centres = np.arange(0, len(banks), self._stride)[:, None]
        around = np.arange(self._stacked) - (self._stacked - 1) // 2
        return banks[np.clip(centres + around, 0, len(banks) - 1)].reshape(len(centres), self.size)
