"""Text as hotwords see it: single characters where a script has no spaces, whole words elsewhere."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

Kind = Literal["han", "wide", "word"]

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Ranges of Chinese characters, to stand within brackets of a regular expression."""
WIDE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af"
"""The same of other scripts without spaces: Thai, Lao, Burmese, Khmer, kana, Hangul."""
_VOICING = "\u3099\u309a"
"""Kana's marks, which make another syllable: they are no accents."""
_UNIT = re.compile(rf"(?P<han>[{HAN}])|(?P<wide>[{WIDE}])|[^\W_{HAN}{WIDE}]+(?:['’][^\W_{HAN}]+)*[+#]*")
_POSSESSIVE = ("'s", "’s")
_JOINERS = re.compile(r"[\s\-‐‑'’._/&·•・]*")


class Unit(NamedTuple):
    """A character of a script without spaces (`han`, or `wide`: kana, Hangul, Thai), or a `word` of any other.

    `start` and `end` are its place in the text; `folded` is it without case, accents and apostrophes.
    """

    text: str
    folded: str
    kind: Kind
    start: int
    end: int


def units_of(text: str) -> list[Unit]:
    """The units of a text in order; marks and spaces between them are in none."""
    found: list[Unit] = []
    for match in _UNIT.finditer(text):
        kind: Kind = "han" if match["han"] else "wide" if match["wide"] else "word"
        folded = match[0] if kind == "han" else fold(match[0])
        found.append(Unit(match[0], folded, kind, match.start(), match.end()))
    return found


def joins(between: str) -> bool:
    """Whether two units with this between them can belong to one term: nothing, spaces, a hyphen, a dot."""
    return not between or _JOINERS.fullmatch(between) is not None


def fold(text: str) -> str:
    """Without case, accents, apostrophes and full-width forms."""
    if text.isascii():
        return text.lower().replace("'", "")
    spread = unicodedata.normalize("NFKD", text.casefold())
    kept = (sign for sign in spread if not unicodedata.combining(sign) or sign in _VOICING)
    return "".join(sign for sign in kept if sign not in "'’")


def without_possessive(unit: Unit) -> Unit:
    """The unit, less an English possessive."""
    if unit.kind == "word" and unit.text.endswith(_POSSESSIVE) and len(unit.text) > 2:
        return Unit(unit.text[:-2], unit.folded[:-1], "word", unit.start, unit.end - 2)
    return unit
