"""FunASR's Paraformer and SeACo-Paraformer on ONNX Runtime.

Gao et al., "Paraformer: Fast and Accurate Parallel Transformer for Non-autoregressive End-to-End Speech Recognition",
2022; Shi et al., "SeACo-Paraformer", 2023.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from app.domain.errors import EngineFailure
from app.engines.paraformer.language_model import NgramModel, find_language_model
from app.engines.paraformer.recognizer import ParaformerRecognizer
from app.settings import Settings

LANGUAGE_MODEL_ID = "ngram-lm"
"""ASR_MODEL_DIR_NGRAM_LM, or a folder of this name in MODELS_DIR."""

_logger = logging.getLogger(__name__)


def load(model_id: str, folder: Path, settings: Settings) -> ParaformerRecognizer:
    """The recogniser in `folder`, as the settings want it. Blocking.

    Raises:
        EngineFailure: the folder does not hold the model; the message names the file and what is wrong with it.
    """
    return ParaformerRecognizer(
        model_id,
        folder,
        threads=settings.threads,
        device=settings.device,
        language_model=lambda tokens: _language_model(tokens, settings) if settings.asr_enable_lm else None,
    )


def _language_model(tokens: Sequence[str], settings: Settings) -> NgramModel | None:
    """The n-gram model on this machine, if there is one; without it everything else works, and the log says so."""
    folder = settings.model_folder(LANGUAGE_MODEL_ID) or settings.models_dir / LANGUAGE_MODEL_ID
    file = find_language_model(folder)
    if file is None:
        _logger.info(
            "decoding without a language model: there is no .bin or .arpa file in ASR_MODEL_DIR_NGRAM_LM or "
            "MODELS_DIR/%s (ASR_ENABLE_LM=false takes this line away)",
            LANGUAGE_MODEL_ID,
        )
        return None
    try:
        model = NgramModel(file, tokens, weight=settings.lm_weight, beam_size=settings.lm_beam_size)
    except EngineFailure as error:
        _logger.error("decoding without a language model: %s", error.message)
        return None
    _logger.info("decoding with the language model %s (weight %g)", file.name, settings.lm_weight)
    return model
