"""FunASR's streaming Paraformer on ONNX Runtime: text while somebody is still speaking, a chunk of sound at a time.

Gao et al., "Paraformer: Fast and Accurate Parallel Transformer for Non-autoregressive End-to-End Speech Recognition",
2022; Zhang et al., "Streaming Chunk-Aware Multihead Attention for Online End-to-End Speech Recognition", 2020.
"""

from __future__ import annotations

from pathlib import Path

from app.engines.paraformer_online.recognizer import OnlineParaformer
from app.settings import Settings


def load(model_id: str, folder: Path, _settings: Settings) -> OnlineParaformer:
    """The streaming recogniser in `folder`. Blocking.

    Raises:
        EngineFailure: the folder does not hold the model; the message names the file and what is wrong with it.
    """
    return OnlineParaformer(model_id, folder)
