"""Reading sound for cutting and joining, and writing it as WAV."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain.engines import SAMPLE_RATE
from tools.recordings import read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

__all__ = ["read", "write"]


def write(path: Path, samples: Sixteen) -> float:
    """Write int16 mono 16 kHz samples as WAV; returns seconds."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return len(samples) / SAMPLE_RATE
