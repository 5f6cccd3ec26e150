"""OpenAI's Whisper on CTranslate2.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022.
"""

from __future__ import annotations

from pathlib import Path

from app.engines.whisper.recognizer import WhisperRecognizer
from app.settings import Settings


def load(model_id: str, folder: Path, settings: Settings) -> WhisperRecognizer:
    """The recogniser in `folder`, as the settings want it. Blocking. Raises EngineFailure."""
    return WhisperRecognizer(
        model_id,
        folder,
        threads=settings.threads,
        compute_type=settings.asr_compute_type,
        beam_size=settings.asr_beam_size,
        window_seconds=float(settings.asr_whisper_window),
        batch_size=settings.asr_batch_size,
        chinese_style=settings.asr_chinese_style,
    )
