from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio.making import LIMITS
from real.scoring import read_wav

from app.audio.worker import decode_file
from app.engines.fsmn_vad import FsmnVad
from app.engines.speakers.campplus import CampPlus
from app.engines.speakers.segmentation import Segmentation
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


@pytest.fixture(scope="session")
def encoder(models_dir: Path) -> CampPlus:
    return CampPlus(models_dir / "speakers")


@pytest.fixture(scope="session")
def segmentation(models_dir: Path) -> Segmentation:
    return Segmentation(models_dir / "speakers")


@pytest.fixture(scope="session")
def clips(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """Five people reading aloud, several clips each: float32 at 16 kHz."""
    out = tmp_path_factory.mktemp("clips") / "sound"
    read: dict[str, list[np.ndarray]] = {}
    for path in sorted((shared_audio / "speakers").glob("libri_*.flac")):
        out.touch()
        decode_file(path, out, LIMITS)
        sound = np.fromfile(out, "<i2").astype(np.float32) / 32768
        read.setdefault(path.stem.split("-")[0], []).append(sound)
    return read
