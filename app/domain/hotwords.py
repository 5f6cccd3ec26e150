"""Terms a caller expects to be said, and which of them were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hotword:
    """A term to listen for. `weight` is relative to 1: where not all terms fit, heavier ones come first, and a heavier
    term is corrected towards on weaker evidence."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class HotwordHit:
    """A term that stands in the transcript: how often, and how many of those were put there by correction."""

    text: str
    count: int
    corrected: int = 0


def merged(*lists: Iterable[Hotword]) -> tuple[Hotword, ...]:
    """Several lists as one, in order; a term that is in more than one has its largest weight."""
    weights: dict[str, float] = {}
    for hotword in (one for some in lists for one in some):
        weights[hotword.text] = max(hotword.weight, weights.get(hotword.text, hotword.weight))
    return tuple(Hotword(text, weight) for text, weight in weights.items())
