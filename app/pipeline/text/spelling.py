"""Text as sensitive terms are looked for in it: what no two spellings differ in, and where it stands."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from app.pipeline.hotwords.units import HAN, WIDE

_ACCENTS = (
    "\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200d\u2060\u20d0-\u20ff"
    "\ufe20-\ufe2f\ufeff"
)
"""Marks that letters may have or not, and what nobody sees. (Kana's voicing marks are none, and neither are vowels of
Indian scripts: they make another word.)"""
_PARTS = "\u1160-\u11ff\u3099\u309a\uff9e\uff9f"
"""Parts of Hangul syllables, and voicing marks, where they are characters of their own."""
_CLUSTER = re.compile(rf".[{_ACCENTS}{_PARTS}]*", re.DOTALL)
_ACCENT = re.compile(rf"[{_ACCENTS}]")
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ`´", "'"))
_LETTER = rf"[^\W\d_{HAN}{WIDE}]"
_PIECE = re.compile(
    rf"(?P<han>[{HAN}])|(?![・゠])[{WIDE}]|\d+[+#]*"
    rf"|(?:(?<!\w)o'(?={_LETTER}{{2}}))?{_LETTER}+(?:'t(?!\w))?[+#]*"  # an Irish name is one word, and so is "don't"
)
_ENDINGS = frozenset({"'s", "'ll", "'d", "'ve", "'re", "'m"})


class Piece(NamedTuple):
    """A character of a script without spaces, a number, or a word of any other.

    `key` is it without case, accents, apostrophes and width. `start` and `end` are its place in the text. `ending`: it
    is what English puts behind words with an apostrophe.
    """

    key: str
    start: int
    end: int
    han: bool
    ending: bool


def pieces_of(text: str) -> list[Piece]:
    """The pieces of a text in order; marks and spaces between them are in none.

    Words end at apostrophes ("l'Oréal", "Falcon'll"), and where digits begin or end: "GPT4" is two, as "GPT 4".
    """
    spread, places = _spread(text)
    found: list[Piece] = []
    for match in _PIECE.finditer(spread):
        first, after = match.span()
        ending = first > 0 and spread[first - 1 : after] in _ENDINGS and bool(found) and spread[first - 2].isalnum()
        start, end = places[first][0], places[after - 1][1]
        found.append(Piece(match[0].replace("'", ""), start, end, match["han"] is not None, ending))
    return found


def grows(text: str, last: Piece) -> bool:
    """Whether the last piece of a text is not over where the text goes on with a letter."""
    return not text[last.end :].translate(_APOSTROPHES).strip("'")


def apart(term: str) -> bool:
    """Whether a term has an apostrophe without which it may be written, too."""
    return "'" in term.translate(_APOSTROPHES)


def without_apostrophes(term: str) -> str:
    """The term as it is written without them."""
    return term.translate(_APOSTROPHES).replace("'", "")


def _spread(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without case, accents and width, and where each of its characters comes from."""
    if text.isascii():
        return text.lower().translate(_APOSTROPHES), [(place, place + 1) for place in range(len(text))]
    plain: dict[str, str] = {}
    signs: list[str] = []
    places: list[tuple[int, int]] = []
    for match in _CLUSTER.finditer(text):
        cluster = match[0]
        if (sign := plain.get(cluster)) is None:
            sign = plain[cluster] = _plain(cluster)
        signs.append(sign)
        places += [match.span()] * len(sign)
    return "".join(signs), places


def _plain(cluster: str) -> str:
    bare = _ACCENT.sub("", unicodedata.normalize("NFKD", cluster.translate(_APOSTROPHES)))
    return unicodedata.normalize("NFKC", bare.casefold()).translate(_APOSTROPHES)
