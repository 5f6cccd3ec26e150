"""Decoding with an n-gram language model over Paraformer's own tokens, read by KenLM.

Paraformer says how many tokens there are and scores each place by itself, so a hypothesis is one token for every
place: a beam over places, where the language model joins what the acoustic model left apart (shallow fusion).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure

if TYPE_CHECKING:
    from flashlight.lib.text.decoder.kenlm import LMState
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Beam = list[tuple[float, LMState, tuple[int, ...]]]

_SUFFIXES = (".bin", ".binary", ".klm", ".arpa")
_LN10 = math.log(10.0)
"""KenLM counts in powers of ten."""
_LEAST = math.log(1e-4)
"""A token less probable than this, next to the best at its place, is not tried."""


def find_language_model(folder: Path) -> Path | None:
    """The language model in `folder`: the first KenLM binary, or ARPA file."""
    if not folder.is_dir():
        return None
    files = sorted(folder.iterdir())
    return next((file for suffix in _SUFFIXES for file in files if file.name.lower().endswith(suffix)), None)


class NgramModel:
    """An n-gram model over `tokens`, and how far it is trusted. Thread-safe.

    Raises:
        EngineFailure: the file is not a language model, or the package that reads it is not there.
    """

    def __init__(self, path: Path, tokens: Sequence[str], *, weight: float, beam_size: int) -> None:
        self._weight = weight * _LN10
        self._beam_size = beam_size
        try:
            from flashlight.lib.text.decoder.kenlm import KenLM  # noqa: PLC0415 - only where there is a model
            from flashlight.lib.text.dictionary import Dictionary  # noqa: PLC0415
        except ImportError as error:
            raise EngineFailure("flashlight-text, which reads language models, is not installed.") from error
        try:
            self._model = KenLM(str(path), Dictionary(list(tokens)))
        except RuntimeError as error:
            raise EngineFailure(f"{path.name} is not an ARPA file or KenLM binary.") from error

    def decode(self, log_probs: Floats, silent: frozenset[int]) -> list[int]:
        """The best token for each place. `log_probs` is float32 (places, vocabulary); the language model does not hear
        `silent` tokens."""
        beam: Beam = [(0.0, self._model.start(False), ())]
        for place in log_probs:
            beam = self._extended(beam, _candidates(place, self._beam_size), silent)
        ended = [(score + self._weight * self._model.finish(state)[1], chosen) for score, state, chosen in beam]
        return list(max(ended, key=lambda one: one[0])[1]) if len(log_probs) else []

    def _extended(self, beam: Beam, candidates: list[tuple[int, float]], silent: frozenset[int]) -> Beam:
        extended: Beam = []
        for score, state, chosen in beam:
            for token, chance in candidates:
                if token in silent:
                    extended.append((score + chance, state, (*chosen, token)))
                    continue
                after, likely = self._model.score(state, token)
                extended.append((score + chance + self._weight * likely, after, (*chosen, token)))
        extended.sort(key=lambda one: (-one[0], one[2]))
        return extended[: self._beam_size]


def _candidates(place: Floats, count: int) -> list[tuple[int, float]]:
    """The likeliest tokens at a place with their log probabilities, best first."""
    count = min(count, len(place))
    likeliest = np.argpartition(-place, count - 1)[:count]
    ordered = likeliest[np.argsort(-place[likeliest], kind="stable")]
    least = float(place[ordered[0]]) + _LEAST
    return [(int(token), float(place[token])) for token in ordered if place[token] >= least]
