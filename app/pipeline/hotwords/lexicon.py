"""How ordinary a stretch of text is: what many people write is seldom a recogniser's mistake for a rare term."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import opencc
import wordfreq
from pypinyin.constants import PHRASES_DICT

UNLISTED = -6.0
"""What is less likely stands in no list: wordfreq's small ones end here."""
_RARE_PHRASE = -6.3
"""A phrase that dictionaries have and newspapers seldom do."""
_RARE_CHARACTER = -6.5
_LONGEST = 5
_UNKNOWN_WORD, _UNKNOWN_SHORT = -9.0, -6.5
_SHORT = 3
_DERIVED_WORD = -6.2
"""A word that no list has, made of one that is there: "decoder"."""
_PREFIX = re.compile(r"(?:un|re|non|pre|over|under|mis|dis)(?=[a-z]{3})")
_SUFFIX = re.compile(r"(?<=[a-z]{2})(?:e?s|e?d|e?r|e?rs|ing|ings|ly|able|ness)$")


class Lexicon:
    """Word frequencies as log10 of probabilities. Thread-safe; the lists are shared by all instances.

    `language` says whose words beside English ones are ordinary; `knows_words` is False where there is no list for it.
    """

    def __init__(self, language: str | None = None) -> None:
        self._simplified = opencc.OpenCC("t2s")
        self._chinese: Mapping[str, float] = wordfreq.get_frequency_dict("zh", "small")
        lists = wordfreq.available_languages("small")
        own = () if language in (None, "zh", "yue", "en") else (language,)
        self.knows_words = all(code in lists for code in own)
        self._words = [wordfreq.get_frequency_dict(code, "small") for code in ("en", *own) if code in lists]

    def word(self, folded: str) -> float:
        """Of a word of a language written with spaces."""
        frequency = self._frequency(folded)
        if frequency > 0.0:
            return math.log10(frequency)
        if any(self._frequency(stem) > 0.0 for stem in _stems(folded)):
            return _DERIVED_WORD
        return _UNKNOWN_SHORT if len(folded) <= _SHORT else _UNKNOWN_WORD

    def chinese(self, characters: str) -> list[tuple[int, float]]:
        """The likeliest words of a text of Chinese characters, each as its length and its log probability.

        The lists are of simplified characters; traditional ones are looked up by those.
        """
        simplified = self._simplified.convert(characters)
        characters = simplified if len(simplified) == len(characters) else characters
        best = [0.0] + [-math.inf] * len(characters)
        lengths = [0] * (len(characters) + 1)
        for end in range(1, len(characters) + 1):
            for length in range(1, min(_LONGEST, end) + 1):
                chance = self._chinese_word(characters[end - length : end])
                if chance is not None and best[end - length] + chance > best[end]:
                    best[end], lengths[end] = best[end - length] + chance, length
        words: list[tuple[int, float]] = []
        end = len(characters)
        while end > 0:
            words.append((lengths[end], best[end] - best[end - lengths[end]]))
            end -= lengths[end]
        return words[::-1]

    def _frequency(self, folded: str) -> float:
        return max(words.get(folded, 0.0) for words in self._words)

    def _chinese_word(self, characters: str) -> float | None:
        frequency = self._chinese.get(characters)
        if frequency is not None:
            return math.log10(frequency)
        if len(characters) == 1:
            return _RARE_CHARACTER
        return _RARE_PHRASE if characters in PHRASES_DICT else None


def _stems(folded: str) -> Iterator[str]:
    """What a word may be made of: with and without a prefix, less an ending, with its `e` back, not doubled."""
    for word in {folded, _PREFIX.sub("", folded, count=1)}:
        yield word
        if ending := _SUFFIX.search(word):
            stem = word[: ending.start()]
            yield from (stem, stem + "e")
            if stem[-1] == stem[-2]:
                yield stem[:-1]
