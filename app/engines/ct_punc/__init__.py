"""FunASR's CT-Transformer on ONNX Runtime: marks between words that came without.

Chen et al., "Controllable Time-Delay Transformer for Real-Time Punctuation Prediction and Disfluency Detection", 2020.
"""

from __future__ import annotations

from pathlib import Path

from app.engines.ct_punc.live import LivePunctuator
from app.engines.ct_punc.punctuator import CtPunctuator
from app.settings import Settings


def load(model_id: str, folder: Path, _settings: Settings) -> CtPunctuator:
    """The punctuation model in `folder`. Blocking: seconds where a dictionary of words comes with it.

    Raises:
        EngineFailure: the folder does not hold the model; the message names the file and what is wrong with it.
    """
    return CtPunctuator(model_id, folder)


def load_live(model_id: str, folder: Path, _settings: Settings) -> LivePunctuator:
    """The punctuation model for live text in `folder`. Blocking.

    Raises:
        EngineFailure: as `load`.
    """
    return LivePunctuator(model_id, folder)
