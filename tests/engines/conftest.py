from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from real.scoring import read_wav

from app.engines.fsmn_vad import FsmnVad
from app.engines.whisper.recognizer import WhisperRecognizer
from app.engines.whisper.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def whisper(models_dir: Path) -> Iterator[WhisperRecognizer]:
    recognizer = WhisperRecognizer("whisper-base", models_dir / "whisper-base", threads=2)
    yield recognizer
    recognizer.close()


@pytest.fixture(scope="session")
def vocabulary(models_dir: Path) -> Vocabulary:
    return Vocabulary(models_dir / "whisper-base")


@pytest.fixture(scope="session")
def detector(models_dir: Path) -> FsmnVad:
    return FsmnVad(models_dir / "fsmn-vad")


@pytest.fixture(scope="session")
def call(phone_call: Path) -> np.ndarray:
    """The phone call: 30 s of float32 at 16 kHz."""
    return read_wav(phone_call / "sample.wav").astype(np.float32) / 32768
