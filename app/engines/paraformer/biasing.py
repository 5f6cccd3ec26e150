"""Hotwords for SeACo-Paraformer: each term's embedding, which the acoustic graph attends to.

Shi et al., "SeACo-Paraformer: A Non-Autoregressive ASR System with Flexible and Effective Hotword Customization
Ability", 2023.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure
from app.domain.hotwords import Hotword
from app.engines.paraformer.tokens import Tokens
from app.engines.sessions import open_session, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ENCODERS = ("model_eb.onnx", "model_eb_quant.onnx")
_INPUT = "hotword"
_LONGEST = 10
"""Tokens of a term: what the encoder was exported for."""
_LISTS = 32
"""Lists of terms whose embeddings are kept: every piece of a request has the same."""


class BiasEncoder:
    """Embeddings of lists of hotwords. Thread-safe.

    Raises:
        EngineFailure: `folder` does not hold the encoder.
    """

    def __init__(self, folder: Path, tokens: Tokens) -> None:
        path = next((folder / name for name in ENCODERS if (folder / name).is_file()), folder / ENCODERS[0])
        self._session = open_session(path)
        self._tokens = tokens
        if [tensor.name for tensor in self._session.get_inputs()] != [_INPUT]:
            raise EngineFailure(f"{path.name} does not encode hotwords: its input is not {_INPUT!r}.")
        # A cache of a pure function: equal terms have equal embeddings, whoever asks.
        self._embedded = lru_cache(maxsize=_LISTS)(self._embed)

    def __call__(self, hotwords: tuple[Hotword, ...]) -> Floats:
        """Embeddings, float32 (terms + 1, size): the last one stands for "none of these". Terms the vocabulary cannot
        spell, and very long ones, are left out.

        Raises:
            EngineFailure: the encoder failed.
        """
        return self._embedded(hotwords)

    def _embed(self, hotwords: tuple[Hotword, ...]) -> Floats:
        spelled = (self._tokens.spell(hotword.text) for hotword in hotwords)
        terms = dict.fromkeys(ids for ids in spelled if ids and len(ids) <= _LONGEST)
        listed = [*terms, (self._tokens.start,)]
        padded = np.zeros((len(listed), _LONGEST), dtype=np.int32)
        for row, ids in zip(padded, listed, strict=True):
            row[: len(ids)] = ids
        [hidden] = run(self._session, None, {_INPUT: padded}, told="Paraformer could not take the hotwords.")
        return np.asarray(hidden, dtype=np.float32)[[len(ids) - 1 for ids in listed], np.arange(len(listed))]
