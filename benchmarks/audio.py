"""Reading sound for cutting and joining, and writing it as WAV."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from app.domain.engines import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]


def read(path: Path) -> Sixteen:
    """Any audio file as int16 mono 16 kHz samples."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)


def write(path: Path, samples: Sixteen) -> float:
    """Write int16 mono 16 kHz samples as WAV; returns seconds."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return len(samples) / SAMPLE_RATE
