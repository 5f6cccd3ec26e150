"""Recognised words as correction sees them: units with their sounds, and where no term can reach across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.domain.transcript import Word
from app.pipeline.hotwords.lexicon import Lexicon
from app.pipeline.hotwords.sounds import Sounds, Syllable
from app.pipeline.hotwords.units import Unit, joins, units_of, without_possessive

_LONGEST_PAUSE = 1.0
"""Seconds between words of one term; people do not stop for longer inside a name."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive Chinese characters: units `start` to `end`, their readings and the readings' keys."""

    start: int
    end: int
    readings: list[list[Syllable]]
    keys: list[list[str]]


@dataclass(slots=True)
class Heard:
    """Units of all words in order. `joined[i]`: a term can have both unit i and i + 1.

    `owner` is each unit's word; `opens` and `closes` say whether a unit is its word's first and last one.
    `likely` sums up the log probabilities of the pieces (ordinary words) before each; `piece` is each unit's piece,
    `edges` where each begins.
    """

    units: list[Unit] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    opens: list[bool] = field(default_factory=list)
    closes: list[bool] = field(default_factory=list)
    joined: list[bool] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    piece: list[int] = field(default_factory=list)
    likely: list[float] = field(default_factory=lambda: [0.0])
    edges: list[int] = field(default_factory=lambda: [0])

    def ordinary(self, start: int, end: int) -> float:
        """Log10 of how likely it is to read what stands at these units, words that reach beyond them included."""
        return self.likely[self.piece[end - 1] + 1] - self.likely[self.piece[start]]

    def remains(self, start: int, end: int) -> tuple[str, str]:
        """What of the ordinary words at the borders of these units would be left before and after them."""
        before = self.units[self.edges[self.piece[start]] : start]
        after = self.units[end : self.edges[self.piece[end - 1] + 1]]
        return "".join(unit.text for unit in before), "".join(unit.text for unit in after)

    def whole(self, start: int, end: int) -> bool:
        """Whether these units are whole words."""
        return self.opens[start] and self.closes[end - 1]


def hear(words: Sequence[Word], sounds: Sounds, lexicon: Lexicon) -> Heard:
    """What was recognised, made ready for matching."""
    heard = Heard()
    tail = ""
    for number, word in enumerate(words):
        found = units_of(word.text)
        for place, unit in enumerate(found):
            if heard.units:
                between = tail + word.text[found[place - 1].end if place else 0 : unit.start]
                apart = place == 0 and _apart(words[heard.owner[-1]], word)
                heard.joined.append(joins(between) and not apart)
            heard.units.append(unit)
            heard.owner.append(number)
            heard.opens.append(place == 0)
            heard.closes.append(place == len(found) - 1)
            tail = ""
        tail = word.text[found[-1].end :] if found else tail + word.text
    for start, end in _stretches(heard):
        _add(heard, start, end, sounds, lexicon)
    return heard


def _apart(before: Word, word: Word) -> bool:
    return word.start - before.end > _LONGEST_PAUSE or word.speaker != before.speaker


def _stretches(heard: Heard) -> Iterator[tuple[int, int]]:
    """Each unit that is no Chinese character, and each run of those that are."""
    start = 0
    for end in range(1, len(heard.units) + 1):
        if (
            end == len(heard.units)
            or not heard.joined[end - 1]
            or heard.units[end].kind != "han"
            or heard.units[start].kind != "han"
        ):
            yield start, end
            start = end


def _add(heard: Heard, start: int, end: int, sounds: Sounds, lexicon: Lexicon) -> None:
    if heard.units[start].kind != "han":
        _add_piece(heard, 1, lexicon.word(without_possessive(heard.units[start]).folded))
        return
    characters = "".join(unit.text for unit in heard.units[start:end])
    for length, likely in lexicon.chinese(characters):
        _add_piece(heard, length, likely)
    readings = sounds.readings(characters)
    heard.runs.append(Run(start, end, readings, [[syllable.key for syllable in reading] for reading in readings]))


def _add_piece(heard: Heard, units: int, likely: float) -> None:
    heard.piece.extend([len(heard.likely) - 1] * units)
    heard.likely.append(heard.likely[-1] + likely)
    heard.edges.append(heard.edges[-1] + units)
