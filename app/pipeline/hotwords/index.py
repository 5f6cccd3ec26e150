"""Terms by how they sound: what a window of text could be is looked up, not compared with every term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.domain.hotwords import Hotword
from app.pipeline.hotwords.sounds import Sounds, Syllable, skeleton, spoken
from app.pipeline.hotwords.units import Unit

_MOST_ALIKE = 32
"""Terms kept that sound the same; of more, the heaviest. A list made of nothing else would make each window slow."""
_SHORTEST_WITH_HOLE = 4
"""Syllables of a term that may have one that is another syllable."""
_SHORTEST_SKELETON = 3
_HOLE = "*"


@dataclass(frozen=True, slots=True)
class Characters:
    """Chinese characters of a term, with their readings."""

    text: str
    readings: list[list[Syllable]]


@dataclass(frozen=True, slots=True)
class Letters:
    """Words of a term, joined: "Qwen ASR" is `qwenasr`. `sound` and `skeleton` as in sounds.py."""

    folded: str
    words: int
    sound: str
    skeleton: str


@dataclass(frozen=True, slots=True)
class Term:
    """A hotword that text can be corrected towards. `size` is its length, a Chinese character counting as two letters,
    `words` how many words of letters it has, `texts` its units as they are written."""

    number: int
    hotword: Hotword
    blocks: tuple[Characters | Letters, ...]
    size: int
    words: int
    texts: tuple[str, ...]


class Index:
    """All terms of a list. Never changes after construction."""

    def __init__(self, hotwords: Sequence[Hotword], units: Sequence[Sequence[Unit]], sounds: Sounds) -> None:
        self.longest_letters = 0
        self.word_counts: set[int] = set()
        self._whole: dict[str, list[Term]] = {}
        self._holed: dict[str, list[Term]] = {}
        self._heads: set[str] = set()
        self._tails: set[str] = set()
        self._lengths: set[int] = set()
        self._spelled: dict[str, list[Term]] = {}
        self._sounding: dict[str, list[Term]] = {}
        self._nearly: dict[str, list[Term]] = {}
        self._first_characters: dict[str, list[Term]] = {}
        self._first_lengths: set[int] = set()
        self._first_letters: dict[str, list[Term]] = {}
        self.heaviest = max((hotword.weight for hotword in hotwords), default=1.0)
        for number in sorted(range(len(hotwords)), key=lambda number: -hotwords[number].weight):
            term = _term(number, hotwords[number], units[number], sounds)
            if term is not None:
                self._add(term)

    def chinese(self, keys: Sequence[str]) -> Iterator[tuple[int, int, Term]]:
        """(start, length, term) for each Chinese term that a stretch of syllables may be meant for."""
        for length in sorted(self._lengths):
            head = length // 2
            for start in range(len(keys) - length + 1):
                middle, end = start + head, start + length
                if length < _SHORTEST_WITH_HOLE:
                    for term in self._whole.get(_key(keys[start:end]), ()):
                        yield start, length, term
                    continue
                begins = f"{length} {_key(keys[start:middle])}" in self._heads
                closes = f"{length} {_key(keys[middle:end])}" in self._tails
                if begins or closes:
                    for term in self._with_hole(keys[start:end], 0 if closes else head, length if begins else head):
                        yield start, length, term

    def mixed(self, keys: Sequence[str]) -> Iterator[tuple[int, Term]]:
        """(start, term) for terms of several scripts whose leading Chinese characters sound like these."""
        for length in sorted(self._first_lengths):
            for start in range(len(keys) - length + 1):
                for term in self._first_characters.get(_key(keys[start : start + length]), ()):
                    yield start, term

    def spelled(self, folded: str) -> Sequence[Term]:
        """Terms that these letters spell, or begin with, where the term goes on in Chinese."""
        return (*self._spelled.get(folded, ()), *self._first_letters.get(folded, ()))

    def sounding(self, bones: str) -> Sequence[Term]:
        """Terms with this skeleton."""
        return (*self._sounding.get(bones, ()), *self._first_letters.get(f" {bones}", ()))

    def nearly(self, bones: str) -> list[Term]:
        """Terms whose skeleton differs in one consonant, or in none."""
        found: dict[int, Term] = {}
        for key in (bones, *_shortened(bones)):
            for term in self._nearly.get(key, ()):
                found[term.number] = term
        return list(found.values())

    def _with_hole(self, keys: Sequence[str], first: int, last: int) -> Iterator[Term]:
        yield from self._whole.get(_key(keys), ())
        for hole in range(first, last):
            yield from self._holed.get(_key([*keys[:hole], _HOLE, *keys[hole + 1 :]]), ())

    def _add(self, term: Term) -> None:
        first, *rest = term.blocks
        if isinstance(first, Characters):
            for reading in first.readings:
                keys = [syllable.key for syllable in reading]
                if rest:
                    self._first_lengths.add(len(keys))
                    _put(self._first_characters, _key(keys), term)
                else:
                    self._add_chinese(keys, term)
        elif rest:
            _put(self._first_letters, first.folded, term)
            _put(self._first_letters, f" {first.skeleton}", term)
        else:
            _put(self._spelled, first.folded, term)
            _put(self._sounding, first.skeleton, term)
            if len(first.skeleton) >= _SHORTEST_SKELETON:
                for key in {first.skeleton, *_shortened(first.skeleton)}:
                    _put(self._nearly, key, term)
        for block in term.blocks:
            if isinstance(block, Letters):
                self.longest_letters = max(self.longest_letters, len(block.folded))
                self.word_counts.add(block.words)

    def _add_chinese(self, keys: Sequence[str], term: Term) -> None:
        length = len(keys)
        self._lengths.add(length)
        _put(self._whole, _key(keys), term)
        if length >= _SHORTEST_WITH_HOLE:
            self._heads.add(f"{length} {_key(keys[: length // 2])}")
            self._tails.add(f"{length} {_key(keys[length // 2 :])}")
            for hole in range(length):
                _put(self._holed, _key([*keys[:hole], _HOLE, *keys[hole + 1 :]]), term)


def _term(number: int, hotword: Hotword, units: Sequence[Unit], sounds: Sounds) -> Term | None:
    """None for what is never corrected towards: single characters, and scripts whose sounds are not known."""
    if any(unit.kind == "wide" for unit in units) or (len(units) < 2 and (not units or units[0].kind == "han")):
        return None
    blocks = tuple(_block(kind == "han", list(group), sounds) for kind, group in groupby(units, lambda unit: unit.kind))
    size = sum(2 * len(b.text) if isinstance(b, Characters) else len(b.folded) for b in blocks)
    words = sum(block.words for block in blocks if isinstance(block, Letters))
    return Term(number, hotword, blocks, size, words, tuple(unit.text for unit in units))


def _block(chinese: bool, units: list[Unit], sounds: Sounds) -> Characters | Letters:
    if chinese:
        characters = "".join(unit.text for unit in units)
        return Characters(characters, sounds.readings(characters))
    folded = "".join(unit.folded for unit in units)
    sound = spoken(folded)
    return Letters(folded, len(units), sound, skeleton(sound))


def _key(keys: Sequence[str]) -> str:
    return " ".join(keys)


def _shortened(bones: str) -> list[str]:
    return [bones[:place] + bones[place + 1 :] for place in range(len(bones))]


def _put(table: dict[str, list[Term]], key: str, term: Term) -> None:
    terms = table.setdefault(key, [])
    if len(terms) < _MOST_ALIKE:
        terms.append(term)
