"""How written words sound: Mandarin syllables with a distance that knows which are confused, and a rough English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from pypinyin.constants import PHRASES_DICT, PINYIN_DICT

_LONGEST_PHRASE = 4
_INITIAL = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw]?)(.*)")
_TONES = {"\u0304": 1, "\u0301": 2, "\u030c": 3, "\u0300": 4}
_SAME_INITIAL = {"zh": "z", "ch": "c", "sh": "s", "l": "n", "f": "h"}
_SAME_FINAL = {"ang": "an", "eng": "en", "ing": "in", "iang": "ian", "uang": "uan"}


class Syllable(NamedTuple):
    """A Mandarin syllable; tone 0 is the light one. Syllables that accents and recognisers confuse have equal keys."""

    initial: str
    final: str
    tone: int
    key: str


class Distance(NamedTuple):
    """How far a stretch is from a term: syllables confusable or otherwise alike (`near`), and what it costs.

    The cost is in powers of ten: how much less likely it makes that the term was said.
    """

    cost: float
    fuzzy: int
    near: int


_TONE_COST, _FUZZY_COST, _LIPS_COST, _NEAR_COST = 0.15, 0.7, 1.0, 1.5


class Sounds:
    """Readings of Chinese characters, out of pypinyin's tables. Remembers syllables; safe in several threads."""

    def __init__(self) -> None:
        self._syllables: dict[str, Syllable] = {}
        self._characters: dict[str, Syllable] = {}

    def readings(self, characters: str) -> list[list[Syllable]]:
        """One or two readings of a text of Chinese characters: as its phrases are read, and character by character."""
        plain = [self._alone(character) for character in characters]
        phrased = self._phrased(characters, plain)
        return [phrased] if phrased == plain else [phrased, plain]

    def _phrased(self, characters: str, plain: list[Syllable]) -> list[Syllable]:
        result = list(plain)
        position = 0
        while position < len(characters):
            for length in range(min(_LONGEST_PHRASE, len(characters) - position), 1, -1):
                phrase = PHRASES_DICT.get(characters[position : position + length])
                if phrase is not None and len(phrase) == length:
                    result[position : position + length] = [self._syllable(readings[0]) for readings in phrase]
                    position += length
                    break
            else:
                position += 1
        return result

    def _alone(self, character: str) -> Syllable:
        """The commonest reading; a character without one sounds like itself and nothing else."""
        known = self._characters.get(character)
        if known is None:
            readings = PINYIN_DICT.get(ord(character))
            unknown = Syllable(character, character, 0, character)
            known = self._characters[character] = self._syllable(readings.split(",")[0]) if readings else unknown
        return known

    def _syllable(self, marked: str) -> Syllable:
        known = self._syllables.get(marked)
        if known is None:
            known = self._syllables[marked] = _parsed(marked)
        return known


def _parsed(marked: str) -> Syllable:
    """A syllable with its tone as an accent: "zhuāng"."""
    spread = unicodedata.normalize("NFD", marked)
    tone = next((_TONES[sign] for sign in spread if sign in _TONES), 0)
    plain = unicodedata.normalize("NFC", "".join(sign for sign in spread if sign not in _TONES)).replace("ü", "v")
    match = _INITIAL.fullmatch(plain)
    initial, final = (match[1], match[2]) if match else ("", plain)
    return Syllable(initial, final, tone, _SAME_INITIAL.get(initial, initial) + _SAME_FINAL.get(final, final))


def distance(heard: Sequence[Syllable], term: Sequence[Syllable]) -> Distance | None:
    """Between equally long stretches; None where a syllable is another one altogether."""
    cost, fuzzy, near = 0.0, 0, 0
    for a, b in zip(heard, term, strict=True):
        cost += _TONE_COST * (a.tone != b.tone)
        if (a.initial, a.final) == (b.initial, b.final):
            continue
        if a.key == b.key:
            fuzzy += 1
            initial = _LIPS_COST if "f" in (a.initial, b.initial) else _FUZZY_COST
            cost += initial * (a.initial != b.initial) + _FUZZY_COST * (a.final != b.final)
        elif a.initial == b.initial or a.final == b.final:
            near += 1
            cost += _NEAR_COST
        else:
            return None
    return Distance(cost, fuzzy, near)


_RESPELLED = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^[kg]n|^pn", "n"),
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"^x", "s"),
        (r"ph", "f"),
        (r"ght", "t"),
        (r"(?<=[aeiouy])gh", ""),
        (r"t?ch", "C"),
        (r"sch|sh", "S"),
        (r"th", "T"),
        (r"dge|j", "J"),
        (r"g(?=[eiy])", "J"),
        (r"ck|qu(?![aeiouy])", "k"),
        (r"qu?", "kw"),
        (r"x", "ks"),
        (r"c(?=[eiy])", "s"),
        (r"c", "k"),
        (r"z", "s"),
        (r"wh", "w"),
        (r"(?<=.)h", ""),
        (r"^y(?=[aeiou])", "Y"),
        (r"[aeiouy]+", "a"),
    )
)
_DOUBLE = re.compile(r"(.)\1+")


def spoken(folded: str) -> str:
    """Roughly how an English word sounds: a sign for each consonant, `a` for any vowels between them."""
    for pattern, sound in _RESPELLED:
        folded = pattern.sub(sound, folded)
    return _DOUBLE.sub(r"\1", folded)


def skeleton(sound: str) -> str:
    """Its consonants, and whether it begins with a vowel."""
    return _DOUBLE.sub(r"\1", sound[:1] + sound[1:].replace("a", ""))
