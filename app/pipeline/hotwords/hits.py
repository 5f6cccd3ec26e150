"""Which of a caller's terms stand in a transcript, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.hotwords import Hotword, HotwordHit
from app.domain.transcript import Word, join_words
from app.pipeline.hotwords.finding import Finder
from app.pipeline.hotwords.units import units_of


def hits(
    hotwords: Sequence[Hotword], words_or_text: str | Sequence[Word], corrected: Mapping[str, int]
) -> tuple[HotwordHit, ...]:
    """The terms that stand in the text, in the order in which they are first read.

    Case, accents and hyphens make no difference; a term of words begins and ends where words do, one of characters
    may stand anywhere. Where terms share a place the longest counts, once. `corrected` says how often each term was
    put there (`Corrected.terms`).
    """
    text = words_or_text if isinstance(words_or_text, str) else join_words(tuple(words_or_text))
    counts: dict[int, int] = {}
    for _, _, term in Finder([units_of(hotword.text) for hotword in hotwords]).find(text):
        counts[term] = counts.get(term, 0) + 1
    return tuple(
        HotwordHit(hotwords[term].text, count, min(corrected.get(hotwords[term].text, 0), count))
        for term, count in counts.items()
    )
