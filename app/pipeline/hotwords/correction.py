"""Puts a caller's terms where a recogniser wrote something that sounds like them, and leaves everything else alone.

A noisy channel decides: the term stands if that it was said and misheard is likelier than that what stands there was
said. docs/hotwords.md tells the rules and what they were measured to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.hotwords import Hotword
from app.domain.transcript import Word
from app.pipeline.hotwords.finding import Finder
from app.pipeline.hotwords.heard import Heard, hear
from app.pipeline.hotwords.index import Index
from app.pipeline.hotwords.lexicon import Lexicon
from app.pipeline.hotwords.matching import Match, Matcher
from app.pipeline.hotwords.scoring import Scoring
from app.pipeline.hotwords.sounds import Sounds
from app.pipeline.hotwords.units import units_of
from app.pipeline.hotwords.writing import write


@dataclass(frozen=True, slots=True)
class Corrected:
    """Words with terms put in; `terms` says which (by their text) and how often each."""

    words: tuple[Word, ...]
    terms: Mapping[str, int]


class Corrector:
    """Corrects towards one list of terms. Thread-safe after construction; make one a list, not one a text.

    `language` is the text's ISO-639 code where it is known: which words besides English and Chinese ones are ordinary.
    """

    def __init__(self, hotwords: Sequence[Hotword], *, language: str | None = None) -> None:
        self._sounds = Sounds()
        self._lexicon = Lexicon(language)
        units = [units_of(hotword.text) for hotword in hotwords]
        self._finder = Finder(units)
        self._index = Index(hotwords, units, self._sounds)

    def correct(self, words: Sequence[Word]) -> Corrected:
        """The words with terms in place of what sounds like them. Words that are not replaced are returned as they are.

        A replaced stretch keeps its time, its speaker and the marks around it; its new words share the time by length.
        """
        heard = hear(words, self._sounds, self._lexicon)
        standing = self._standing(heard)
        matcher = Matcher(self._index, self._lexicon, heard, Scoring(words, heard, standing, self._lexicon))
        chosen = _chosen(matcher.matches())
        return _rewritten(words, heard, chosen)

    def _standing(self, heard: Heard) -> dict[int, int]:
        """Units that are part of a term as they are, and of which."""
        return {
            unit: term
            for start, end, term in self._finder.find_among(heard.units, heard.joined)
            for unit in range(start, end)
        }


def _chosen(matches: Iterator[Match]) -> list[Match]:
    """The longest term first, then the closest; none overlaps another."""
    order = sorted(matches, key=lambda m: (-m.term.size, m.cost, m.changed, -m.score, m.start, m.term.number))
    taken: set[int] = set()
    chosen: list[Match] = []
    for match in order:
        span = range(match.start, match.end)
        if taken.isdisjoint(span):
            taken.update(span)
            chosen.append(match)
    return sorted(chosen, key=lambda match: match.start)


def _rewritten(words: Sequence[Word], heard: Heard, chosen: Sequence[Match]) -> Corrected:
    result: list[Word] = []
    counts: Counter[str] = Counter()
    position = 0
    for match in chosen:
        first, last = heard.owner[match.start], heard.owner[match.end - 1]
        result += words[position:first]
        replaced = words[first : last + 1]
        result += write(match.term.hotword.text, replaced, heard.units[match.start].start, match.last_end)
        counts[match.term.hotword.text] += 1
        position = last + 1
    return Corrected((*result, *words[position:]), dict(counts))
