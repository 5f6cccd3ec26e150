"""What the forced aligner is asked, and how its answer becomes words with times.

It is given units (words without marks) and answers each with two classes: the bins its sound begins and ends in.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from app.domain.errors import EngineFailure
from app.domain.transcript import Word
from app.engines.qwen3.languages import ALIGNED_LANGUAGES

BIN_MS = 80.0
"""Milliseconds of a bin in the published checkpoint; a checkpoint's own is in its configuration."""
_HAN = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
"""Characters that are a unit each."""
_SNAPPED = 2
"""Times in a row that are each put to the nearer trusted time; more are spread evenly between the two."""


@dataclass(frozen=True, slots=True)
class Units:
    """What the aligner times. `places` are, for each unit, the words its characters are of, by index, in order."""

    texts: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def aligner_words(words: Sequence[Word], language: str) -> Units | None:
    """The aligner's units for words in a language (ISO code), as it was trained on them: letters, digits, apostrophes.

    A Chinese character is a unit, others end at spaces; in Japanese, units are morphemes. None where the language
    cannot be aligned: the aligner does not know it, or the morphemes' package (nagisa) is not installed. A word that is
    nothing but marks is in no unit. Korean ends at spaces only, also beside Chinese characters. Blocking in Japanese,
    and slow the first time.
    """
    if language not in ALIGNED_LANGUAGES:
        return None
    text = [
        (character, index)
        for index, word in enumerate(words)
        for character in (" " if word.space_before and index else "") + word.text
    ]
    if language == "ja":
        return _morphemes(text)
    return _collected(_spaced(text, alone=language != "ko"))


def times(bins: Sequence[int], count: int, seconds: float, bin_ms: float = BIN_MS) -> list[tuple[float, float]]:
    """Start and end of each of `count` units in seconds, in order and inside a sound of `seconds`.

    `bins` are two classes a unit, in the order of the text; those out of order are mended (see `_mended`).

    Raises:
        EngineFailure: there are not two for each unit.
    """
    if len(bins) != 2 * count:
        raise EngineFailure(f"The aligner told {len(bins)} times for {count} words; two for each were asked.")
    told = [min(time / 1000, seconds) for time in _mended([number * bin_ms for number in bins])]
    return list(zip(told[::2], told[1::2], strict=True))


def placed(words: Sequence[Word], units: Units, told: Sequence[tuple[float, float]]) -> tuple[Word, ...]:
    """The words with the times of their units: a unit of several words is shared by characters, a word of several units
    goes from the first's start to the last's end, and one of none stands where the word before it ends (or, at the
    beginning, where the one after begins)."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for of, (start, end) in zip(units.places, told, strict=True):
        for at, word in enumerate(of):
            starts.setdefault(word, start + (end - start) * at / len(of))
            ends[word] = end if at + 1 == len(of) else start + (end - start) * (at + 1) / len(of)
    clock = min(starts.values(), default=0.0)
    timed: list[Word] = []
    for index, word in enumerate(words):
        start = max(clock, starts.get(index, clock))
        clock = max(start, ends.get(index, clock))
        timed.append(replace(word, start=start, end=clock))
    return tuple(timed)


_Unit = list[tuple[str, int]]
"""Characters of a unit, each with the word it is of."""


def _is_kept(character: str) -> bool:
    return character == "'" or unicodedata.category(character)[0] in "LN" or _HAN.match(character) is not None


def _spaced(text: Sequence[tuple[str, int]], *, alone: bool) -> list[_Unit]:
    """Units that end at spaces; Chinese characters stand `alone`."""
    units: list[_Unit] = [[]]
    for character, word in text:
        if alone and _HAN.match(character):
            units += [[(character, word)], []]
        elif character.isspace():
            units.append([])
        elif _is_kept(character):
            units[-1].append((character, word))
    return units


def _morphemes(text: Sequence[tuple[str, int]]) -> Units | None:
    """Japanese units, if nagisa is installed and what it says can be found in the text."""
    if importlib.util.find_spec("nagisa") is None:
        return None
    found: Sequence[str] = importlib.import_module("nagisa").tagging("".join(character for character, _ in text)).words
    left = iter([(character, word) for character, word in _compatible(text) if _is_kept(character)])
    units: list[_Unit] = []
    for morpheme in found:
        kept = [character for character in morpheme if _is_kept(character)]
        unit = list(islice(left, len(kept)))
        if [character for character, _ in unit] != kept:
            return None
        units.append(unit)
    return _collected(units) if next(left, None) is None else None


def _compatible(text: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Text as nagisa reads it, in compatibility form (NFKC): half-width kana and their marks become one character."""
    groups: list[tuple[str, int]] = []
    for character, word in text:
        if groups and unicodedata.combining(unicodedata.normalize("NFKC", character)[0]):
            groups[-1] = (groups[-1][0] + character, groups[-1][1])
        else:
            groups.append((character, word))
    return [(one, word) for group, word in groups for one in unicodedata.normalize("NFKC", group).replace("İ", "I")]


def _collected(units: Sequence[_Unit]) -> Units:
    said = [unit for unit in units if unit]
    return Units(
        texts=tuple("".join(character for character, _ in unit) for unit in said),
        places=tuple(tuple(word for _, word in unit) for unit in said),
    )


def _mended(told: Sequence[float]) -> list[int]:
    """Milliseconds in order, whole ones.

    The longest subsequence that is in order is trusted; the rest is drawn to it. As the model's authors do it, so that
    times are those the model was measured with.
    """
    trusted = _longest_in_order(told)
    mended = list(told)
    edges = [-1, *trusted, len(told)]
    for left, right in pairwise(edges):
        count = right - left - 1
        before = told[left] if left >= 0 else None
        after = told[right] if right < len(told) else None
        for step in range(1, count + 1):
            mended[left + step] = _between(before, after, step, count)
    return [int(time) for time in mended]


def _between(before: float | None, after: float | None, step: int, count: int) -> float:
    """The `step`-th of `count` times (from 1) between two trusted ones, of which there is at least one."""
    if before is None or after is None:
        return before if before is not None else after or 0.0
    if count > _SNAPPED:
        return before + (after - before) / (count + 1) * step
    return before if step <= count + 1 - step else after


def _longest_in_order(told: Sequence[float]) -> list[int]:
    """Places of the longest subsequence that never falls, in n log n.

    Of several, the one that ends first and, going back, whose places each are the first possible. Places where
    subsequences of one length end are kept together: told later, told less, so both searches can halve.
    """
    lasts: list[float] = []  # by length less one: the least that a subsequence so long ends in
    falling: list[list[float]] = []  # the same and all before it, negated, so that they rise
    places: list[list[int]] = []
    came_from: list[int] = []
    for place, time in enumerate(told):
        length = bisect_right(lasts, time)
        came_from.append(places[length - 1][bisect_left(falling[length - 1], -time)] if length else -1)
        if length == len(lasts):
            lasts.append(time)
            falling.append([-time])
            places.append([place])
        else:
            lasts[length] = time
            falling[length].append(-time)
            places[length].append(place)
    chain: list[int] = []
    place = places[-1][0] if places else -1
    while place >= 0:
        chain.append(place)
        place = came_from[place]
    return chain[::-1]
