"""Which known voice a voiceprint sounds like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.speakers import KnownVoice, Voiceprint


def similarity(known: KnownVoice, voiceprint: Voiceprint) -> float:
    """How alike they sound: the cosine between the voice's centroid and the voiceprint, in [-1, 1].

    The centroid is the mean of the voice's embeddings, each weighted by its seconds: long samples say more. One without
    a direction (there are no samples, or they cancel out) is like nothing: 0. All must be of one encoder.
    """
    asked = _unit(voiceprint.embedding)
    centroid = np.zeros_like(asked)
    for sample in known.voiceprints:
        centroid += sample.seconds * _unit(sample.embedding)
    return float(np.clip(_unit(centroid) @ asked, -1.0, 1.0))


def best_first(known: Sequence[KnownVoice], voiceprint: Voiceprint) -> list[tuple[KnownVoice, float]]:
    """All voices with their `similarity`, the most alike first; equals in the order given."""
    ranked = [(voice, similarity(voice, voiceprint)) for voice in known]
    return sorted(ranked, key=lambda pair: -pair[1])


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = vector.astype(np.float64)
    length = float(np.linalg.norm(wide))
    return wide / length if length > 0 else wide
