"""Whether a term is likelier than what was recognised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from app.domain.transcript import Word
from app.pipeline.hotwords.heard import Heard
from app.pipeline.hotwords.lexicon import Lexicon

EXPECTED = -7.0
"""Log10 of how likely a term of weight 1 is at any place. Words of the lexicon's lists are all likelier (-6)."""
CONFIDENT = 0.85
"""From here on only an exact homophone is replaced."""
DOUBTFUL = 0.5
"""Up to here a word was hardly recognised."""
_USUAL = 0.6
_DOUBT, _TRUST = 5.0, 2.5
"""Below the usual confidence the chance that the term was said grows with its fifth power: at 0.05 an ordinary word may
be replaced by its homophone. Above it shrinks little, for recognisers are often sure of a name's wrong spelling."""
_LEAST = 0.02
_HEAVIEST = 1.0
"""At most so many powers of ten for a weight."""


class Scoring:
    """Of one text. `standing` says which units are part of which term already."""

    def __init__(self, words: Sequence[Word], heard: Heard, standing: Mapping[int, int], lexicon: Lexicon) -> None:
        self._words = words
        self._heard = heard
        self._lexicon = lexicon
        self._standing = standing

    def untouchable(self, changed: Sequence[int], term: int | None = None) -> bool:
        """Whether one of these units is part of a term already (of another term than `term`)."""
        return any(unit in self._standing and self._standing[unit] != term for unit in changed)

    def confidence(self, changed: Sequence[int]) -> float | None:
        """The mean confidence of what would be changed; None where the recogniser gave none."""
        given = [self._words[self._heard.owner[unit]].confidence for unit in changed]
        known = [confidence for confidence in given if confidence is not None]
        return sum(known) / len(known) if known else None

    def score(self, start: int, end: int, weight: float, cost: float, confidence: float | None) -> float:
        """Powers of ten by which it is likelier that the term was said; the term stands where it is above 0.

        `cost` is what it takes to mishear the term so. Both ways of reading are of the same characters: where the term
        would cut an ordinary word in two, what is left of that has to be likely by itself.
        """
        most = EXPECTED + _emphasis(weight) + _doubt(confidence) - cost - self._heard.ordinary(start, end)
        if most <= 0:
            return most
        cut = [part for part in self._heard.remains(start, end) if part]
        return most + sum(likely for part in cut for _, likely in self._lexicon.chinese(part))


def _emphasis(weight: float) -> float:
    return max(-_HEAVIEST, min(_HEAVIEST, math.log10(weight))) if weight > 0 else -_HEAVIEST


def _doubt(confidence: float | None) -> float:
    if confidence is None:
        return 0.0
    if confidence < _USUAL:
        return _DOUBT * math.log10(_USUAL / max(confidence, _LEAST))
    return _TRUST * (_USUAL - confidence)
