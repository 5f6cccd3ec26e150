"""What tells speakers apart: CAM++ knows voices, segmentation-3.0 hears who speaks when."""

from __future__ import annotations

from pathlib import Path

from app.domain.engines import SpeakerModels
from app.engines.speakers.campplus import CampPlus
from app.engines.speakers.segmentation import Segmentation
from app.settings import Settings


def load(_model_id: str, folder: Path, _settings: Settings) -> SpeakerModels:
    """Both models in `folder`. Blocking. Raises EngineFailure."""
    return SpeakerModels(Segmentation(folder), CampPlus(folder))
