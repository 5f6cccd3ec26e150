"""Terms written as recognisers mishear them, by rule: homophones, another tone, sounds that accents confuse, a syllable
that is merely alike; of English, other spellings, vowels and consonants."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import wordfreq
from pypinyin.constants import PINYIN_DICT

from app.pipeline.hotwords.sounds import Sounds, Syllable

CHINESE = "homophones", "other tones", "confused sounds", "one other syllable"
"""Ways to misspell Chinese."""
_COMMON_CHARACTER = 1e-5
"""A recogniser writes characters that are written often."""
_SPELLINGS = {
    "another spelling": (
        ("ph", "f"),
        ("c", "k"),
        ("k", "c"),
        ("ie", "y"),
        ("y", "i"),
        ("z", "s"),
        ("ll", "l"),
        ("l", "ll"),
    ),
    "another vowel": (("a", "e"), ("e", "i"), ("i", "e"), ("o", "u"), ("u", "o"), ("ea", "ee")),
    "another consonant": (("b", "p"), ("d", "t"), ("t", "d"), ("g", "k"), ("m", "n"), ("n", "m"), ("v", "f")),
}
ENGLISH = "two words", *_SPELLINGS
"""Ways to misspell English."""


class Speller:
    """Writes syllables with other characters. Everything comes from pypinyin's table of readings."""

    def __init__(self) -> None:
        self._sounds = Sounds()
        frequencies = wordfreq.get_frequency_dict("zh", "small")
        self._exact: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
        self._toneless: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._fuzzy: defaultdict[str, list[str]] = defaultdict(list)
        self._near: defaultdict[str, list[str]] = defaultdict(list)
        for code in PINYIN_DICT:
            character = chr(code)
            if frequencies.get(character, 0.0) < _COMMON_CHARACTER:
                continue
            syllable = self.read(character)[0]
            self._exact[syllable[:3]].append(character)
            self._toneless[syllable[:2]].append(character)
            self._fuzzy[syllable.key].append(character)
            self._near[syllable.initial].append(character)

    def read(self, text: str) -> list[Syllable]:
        """The syllables of Chinese characters."""
        return self._sounds.readings(text)[0]

    def misspelt(self, term: str, kind: str, chance: random.Random) -> str | None:
        """The term with some characters written otherwise; None where there is no such way."""
        syllables = self.read(term)
        signs = list(term)
        places = chance.sample(range(len(signs)), len(signs))
        if kind in ("homophones", "other tones"):
            changed = 0
            for place in places[: chance.randint(1, len(signs))]:
                changed += self._swap(signs, place, syllables[place], kind, chance)
            return "".join(signs) if changed else None
        if not any(self._swap(signs, place, syllables[place], kind, chance) for place in places):
            return None
        for place in range(len(signs)):
            if signs[place] == term[place] and chance.random() < 0.5:
                self._swap(signs, place, syllables[place], "homophones", chance)
        return "".join(signs)

    def _swap(self, signs: list[str], place: int, syllable: Syllable, kind: str, chance: random.Random) -> bool:
        initial, final, tone, key = syllable
        pool = {
            "homophones": lambda: self._exact[initial, final, tone],
            "other tones": lambda: [c for c in self._toneless[initial, final] if self.read(c)[0].tone != tone],
            "confused sounds": lambda: [c for c in self._fuzzy[key] if self.read(c)[0][:2] != (initial, final)],
            "one other syllable": lambda: [c for c in self._near[initial] if self.read(c)[0].key != key],
        }[kind]()
        pool = [character for character in pool if character != signs[place]]
        if pool:
            signs[place] = chance.choice(pool)
        return bool(pool)


def misspelt_english(term: str, kind: str, chance: random.Random) -> str | None:
    """The term written otherwise; None where there is no such way."""
    if kind == "two words":
        place = chance.randint(2, len(term) - 2)
        return f"{term[:place]} {term[place:]}"
    ways = [(a, b) for a, b in _SPELLINGS[kind] if a in term[1:]]
    if not ways:
        return None
    a, b = chance.choice(ways)
    place = chance.choice([m.start() for m in re.finditer(re.escape(a), term) if m.start() > 0])
    return term[:place] + b + term[place + len(a) :]
