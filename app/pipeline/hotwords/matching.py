"""Finds what a term could stand for: Chinese by syllables, words by letters and sound, terms of both by their parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rapidfuzz import fuzz

from app.pipeline.hotwords.heard import Heard, Run
from app.pipeline.hotwords.index import Characters, Index, Letters, Term
from app.pipeline.hotwords.lexicon import UNLISTED, Lexicon
from app.pipeline.hotwords.scoring import CONFIDENT, DOUBTFUL, Scoring
from app.pipeline.hotwords.sounds import Distance, distance, skeleton, spoken
from app.pipeline.hotwords.units import without_possessive

_MOST_SPELLED = 10
"""Words that may spell one word letter by letter."""
_SHORT_COST = {2: 1.5, 3: 1.0}
"""Against short terms, by characters: the fewer, the more often neighbours sound like one by chance."""
_ACRONYM = re.compile(r"[A-Z]{2,5}s?")
"""Recognisers write them where letters were spelt; they are no misspelt words."""
_SHORTEST_FUZZY = 4
_SHORTEST_NEARLY = 5
_ALIKE, _NEARLY_ALIKE = 0.6, 0.84
_UNLIKE_COST, _NEARLY_COST = 3.0, 8.0
_ENDING = re.compile(r"s|es|d|ed|ing|r|er|ers|ly|n|en|y")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Match:
    """A term that may stand at units `start` to `end`, `changed` of which read otherwise.

    `last_end` is where it ends in its last unit's word.
    """

    start: int
    end: int
    last_end: int
    term: Term
    changed: int
    cost: float
    score: float


class Matcher:
    """All matches in one text."""

    def __init__(self, index: Index, lexicon: Lexicon, heard: Heard, scoring: Scoring) -> None:
        self._index = index
        self._fuzzy_words = lexicon.knows_words
        self._most_fuzzy = max(index.word_counts, default=0) + 2
        self._heard = heard
        self._scoring = scoring
        self._places = {unit: run for run in heard.runs for unit in range(run.start, run.end)}
        self._sounds: dict[str, str] = {}

    def matches(self) -> Iterator[Match]:
        """Every acceptable one, overlapping ones too."""
        for run in self._heard.runs:
            for keys in run.keys:
                for start, length, term in self._index.chinese(keys):
                    yield from self._chinese(run, start, length, term)
                for start, term in self._index.mixed(keys):
                    yield from self._mixed(run.start + start, term)
        if self._index.longest_letters:
            for start, unit in enumerate(self._heard.units):
                if unit.kind == "word" and self._heard.opens[start]:
                    yield from self._words(start)

    def _chinese(self, run: Run, offset: int, length: int, term: Term) -> Iterator[Match]:
        start, end = run.start + offset, run.start + offset + length
        block = term.blocks[0]
        if not isinstance(block, Characters) or not self._heard.whole(start, end):
            return
        changed = self._changed(start, block.text)
        if not changed or self._scoring.untouchable(changed):
            return
        found = self._distance(run, offset, block)
        confidence = self._scoring.confidence(changed)
        if found is None or not _close_enough(found, length, len(changed), confidence):
            return
        cost = found.cost + _SHORT_COST.get(length, 0.0)
        score = self._scoring.score(start, end, term.hotword.weight, cost, confidence)
        if score > 0:
            yield Match(start, end, self._heard.units[end - 1].end, term, len(changed), found.cost, score)

    def _changed(self, start: int, text: str) -> list[int]:
        return [start + i for i, sign in enumerate(text) if self._heard.units[start + i].text != sign]

    @staticmethod
    def _distance(run: Run, offset: int, block: Characters) -> Distance | None:
        """The least one between any two readings."""
        end = offset + len(block.text)
        found = [distance(heard[offset:end], term) for heard in run.readings for term in block.readings]
        return min((it for it in found if it is not None), key=lambda it: (it.near, it.fuzzy, it.cost), default=None)

    def _words(self, start: int) -> Iterator[Match]:
        """Terms that begin with letters, at a word and those that follow it."""
        for end, letters in self._spellings(start):
            if len(letters) > self._index.longest_letters + 2:
                return
            if self._heard.closes[end - 1]:
                yield from self._window(start, end, letters)

    def _spellings(self, start: int) -> Iterator[tuple[int, str]]:
        """(end, letters) of words that follow one another from a unit on."""
        heard = self._heard
        letters = ""
        for end in range(start + 1, min(start + _MOST_SPELLED, len(heard.units)) + 1):
            if heard.units[end - 1].kind != "word" or (end - start > 1 and not heard.joined[end - 2]):
                return
            yield end, letters + without_possessive(heard.units[end - 1]).folded
            letters += heard.units[end - 1].folded

    def _sound(self, start: int, end: int) -> str:
        """How words sound, each by itself: `g p t` is three letters."""
        words = [without_possessive(unit).folded for unit in self._heard.units[start:end]]
        for word in words:
            if word not in self._sounds:
                self._sounds[word] = spoken(word)
        return "".join(self._sounds[word] for word in words)

    def _window(self, start: int, end: int, letters: str) -> Iterator[Match]:
        for term in self._candidates(start, end, letters):
            block = term.blocks[0]
            if len(term.blocks) > 1:
                yield from self._mixed(start, term)
            elif isinstance(block, Letters):
                cost = self._letters_cost(start, end, letters, block)
                if cost is not None:
                    yield from self._accepted(start, end, term, cost, exact=letters == block.folded)

    def _candidates(self, start: int, end: int, letters: str) -> Iterable[Term]:
        words = end - start
        spelled = self._index.spelled(letters)
        if not self._fuzzy_words or len(letters) < _SHORTEST_FUZZY or words > self._most_fuzzy:
            return spelled
        if _ACRONYM.fullmatch(self._heard.units[start].text) or not self._possible(start, end):
            return spelled
        bones = skeleton(self._sound(start, end))
        terms = {term.number: term for term in (*spelled, *self._index.sounding(bones))}
        if words in self._index.word_counts:
            terms |= {term.number: term for term in self._index.nearly(bones) if term.words == words}
        return terms.values()

    def _letters_cost(self, start: int, end: int, letters: str, term: Letters) -> float | None:
        """What it takes to mishear a term as these letters; None where it is too much."""
        if letters == term.folded:
            return 0.0
        if not self._fuzzy_words or len(term.folded) < _SHORTEST_FUZZY or _inflected(letters, term.folded):
            return None
        if _DIGITS.findall(letters) != _DIGITS.findall(term.folded):
            return None
        sound = self._sound(start, end)
        if sound[:1] != term.sound[:1]:
            return None
        alike = fuzz.ratio(letters, term.folded) / 100
        if skeleton(sound) == term.skeleton:
            return _UNLIKE_COST * (1 - alike) if alike >= _ALIKE else None
        return _NEARLY_COST * (1 - alike) if len(term.folded) >= _SHORTEST_NEARLY and alike >= _NEARLY_ALIKE else None

    def _possible(self, start: int, end: int) -> bool:
        """Whether these words could be a misspelt term: where one is no ordinary word, or hardly was recognised.

        They seldom are, and that saves looking for one.
        """
        confidence = self._scoring.confidence(range(start, end))
        if confidence is not None and confidence >= CONFIDENT:
            return False
        rarest = min(self._heard.ordinary(unit, unit + 1) for unit in range(start, end))
        if rarest > UNLISTED and (confidence is None or confidence > DOUBTFUL):
            return False
        return self._scoring.score(start, end, self._index.heaviest, 0.0, confidence) > 0

    def _accepted(self, start: int, end: int, term: Term, cost: float, *, exact: bool) -> Iterator[Match]:
        changed = list(range(start, end))
        confidence = self._scoring.confidence(changed)
        if self._scoring.untouchable(changed, term.number if exact else None):
            return
        if confidence is not None and confidence >= CONFIDENT and not exact:
            return
        last = without_possessive(self._heard.units[end - 1])
        written = (*(unit.text for unit in self._heard.units[start : end - 1]), last.text)
        if written == term.texts:
            return
        sure = confidence if not exact else None  # the same letters, written apart or in another case: no doubt of them
        score = self._scoring.score(start, end, term.hotword.weight, cost, sure)
        if score > 0:
            yield Match(start, end, last.end, term, end - start, cost, score)

    def _mixed(self, start: int, term: Term) -> Iterator[Match]:
        """A term of several scripts: its Chinese parts are exact homophones, the others as likely as by themselves."""
        position, cost, exact = start, 0.0, True
        for block in term.blocks:
            step = self._part(position, block)
            if step is None:
                return
            position, cost, exact = step[0], cost + step[1], exact and step[2]
        if self._heard.whole(start, position):
            yield from self._accepted(start, position, term, cost, exact=exact)

    def _part(self, start: int, block: Characters | Letters) -> tuple[int, float, bool] | None:
        """Where a part of a term that begins at a unit ends, what it costs, and whether it is exact."""
        heard = self._heard
        if start >= len(heard.units) or (start and not heard.joined[start - 1]):
            return None
        if isinstance(block, Characters):
            run = self._places.get(start)
            if run is None or start + len(block.text) > run.end:
                return None
            found = self._distance(run, start - run.start, block)
            exact = found is not None and not found.fuzzy and not found.near
            return (start + len(block.text), found.cost, True) if found and exact else None
        best: tuple[int, float, bool] | None = None
        for end, letters in self._spellings(start):
            cost = self._letters_cost(start, end, letters, block)
            if cost is not None and (best is None or cost < best[1]):
                best = (end, cost, letters == block.folded)
        return best


def _close_enough(found: Distance, length: int, changed: int, confidence: float | None) -> bool:
    """Short terms are taken for exact homophones only; the longer the term, the more may be unlike."""
    if not found.fuzzy and not found.near:
        return True
    if confidence is not None and confidence >= CONFIDENT:
        return False
    if length == 2:
        return False
    if length == 3:
        return found.near == 0 and found.fuzzy == 1
    if found.near and length - changed < length // 2:
        return False
    return found.near <= 1 and found.fuzzy + found.near <= length // 2


def _inflected(letters: str, term: str) -> bool:
    """Whether one is the other with an ending: "models" is no mistake for "model"."""
    shorter, longer = sorted((letters, term), key=len)
    return longer.startswith(shorter) and _ENDING.fullmatch(longer[len(shorter) :]) is not None
