"""What tells speakers apart: CAM++ knows voices, segmentation-3.0 hears who speaks when.

Both are published as checkpoints only. The project keeps their graphs without weights, made by a recipe of its own
(tests/models/speaker_graphs.py), and fills them from the verified files: neither PyTorch nor onnx is needed.
"""

from __future__ import annotations

from pathlib import Path

from app.domain.engines import SpeakerModels
from app.engines.speakers.campplus import CampPlus
from app.engines.speakers.segmentation import Segmentation
from app.settings import Settings


def load(_model_id: str, folder: Path, _settings: Settings) -> SpeakerModels:
    """Both models in `folder`. Blocking. Raises EngineFailure."""
    return SpeakerModels(Segmentation(folder), CampPlus(folder))
