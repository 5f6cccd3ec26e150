"""From a text to words as this server has them, with the tokens each came from."""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain.engines import SpeechSpan
from app.domain.transcript import Word
from app.engines.qwen3.outputs import TextToken

_SINGLE = "\u3005-\u3007\u3040-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
"""Chinese characters and kana: languages written without spaces have one word for each."""
_PIECES = re.compile(rf"[{_SINGLE}][^\w\s{_SINGLE}]*|[^\s{_SINGLE}]+")
_OPENING = "“‘¿¡([{「『《〈（【"
_OPENS = re.compile(rf"[{re.escape(_OPENING)}]+$")
_OPENING_AFTER_SPACE = frozenset("\"'-")
"""Marks that open or close: after a space they open."""
_MARK, _LETTER, _SYLLABLE, _CHARACTER = 0.5, 1.0, 2.0, 3.0
"""How long each is said, in letters: people say about 14 letters a second, 7 kana or Hangul, 4.5 Chinese characters; a
digit is a word. Marks are short pauses."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the text that becomes a word."""

    start: int
    end: int


def words_of(text: str, tokens: Sequence[TextToken] = ()) -> tuple[Word, ...]:
    """The words of a text, without times (0). Joined again they are the text, which has single spaces only.

    A Chinese character or kana is a word, other words end at spaces; marks are joined to the word before, opening
    ones to the word after. Thai and others without spaces stay in one, as wherever this server splits a text.
    Each token goes to the first word it has a character of, a blank one to the word after it; `confidence` is the mean
    probability of all tokens that have a part in the word.
    """
    pieces = _attached(text, _pieces(text))
    owned: list[list[int]] = [[] for _ in pieces]
    chances: list[list[float]] = [[] for _ in pieces]
    starts = [piece.start for piece in pieces]
    for token in tokens if pieces else ():
        first = _owner(text, starts, token.start)
        last = max(first, bisect_right(starts, token.end - 1) - 1)
        owned[first].append(token.id)
        for part in range(first, last + 1):
            chances[part].append(math.exp(token.logprob))
    return tuple(
        Word(
            text=text[piece.start : piece.end],
            start=0.0,
            end=0.0,
            confidence=sum(shares) / len(shares) if shares else None,
            space_before=piece.start > 0 and text[piece.start - 1] == " ",
            tokens=tuple(ids),
        )
        for piece, ids, shares in zip(pieces, owned, chances, strict=True)
    )


def proportional(words: Sequence[Word], speech: SpeechSpan) -> tuple[Word, ...]:
    """The words with times that share a stretch of speech by how long they take to say. Seconds, in order."""
    weights = [sum(map(_weight, word.text)) for word in words]
    total = sum(weights) or 1.0
    scale = max(0.0, speech.end - speech.start) / total
    timed: list[Word] = []
    passed = 0.0
    for word, weight in zip(words, weights, strict=True):
        start = min(speech.start + passed * scale, speech.end)
        passed += weight
        timed.append(replace(word, start=start, end=min(speech.start + passed * scale, speech.end)))
    return tuple(timed)


def _pieces(text: str) -> list[_Piece]:
    """Characters and runs between spaces; an opening mark begins what follows it directly."""
    pieces: list[_Piece] = []
    carried: int | None = None
    for found in _PIECES.finditer(text):
        start = found.start() if carried is None else carried
        opening = _OPENS.search(found[0])
        glued = found.end() < len(text) and not text[found.end()].isspace()
        carried = found.start() + opening.start() if opening and glued else None
        if carried == found.start():
            carried = start
        elif start < (end := found.end() if carried is None else carried):
            pieces.append(_Piece(start, end))
    return pieces


def _attached(text: str, pieces: Sequence[_Piece]) -> list[_Piece]:
    """Pieces that are only marks joined to the word before; to the one after if they open or nothing is before."""
    attached: list[_Piece] = []
    opening: int | None = None
    for piece in pieces:
        said = text[piece.start : piece.end]
        if not any(map(_is_spoken, said)):
            spaced = piece.start > 0 and text[piece.start - 1].isspace()
            opens = said[-1] in _OPENING or (spaced and said[-1] in _OPENING_AFTER_SPACE)
            if opens or not attached or opening is not None:
                opening = piece.start if opening is None else opening
            else:
                attached[-1] = _Piece(attached[-1].start, piece.end)
            continue
        attached.append(_Piece(piece.start if opening is None else opening, piece.end))
        opening = None
    if opening is not None and attached:
        attached[-1] = _Piece(attached[-1].start, pieces[-1].end)
    elif opening is not None:
        attached.append(_Piece(opening, pieces[-1].end))
    return attached


def _owner(text: str, starts: Sequence[int], at: int) -> int:
    """The word with the character `at`, or the one after if that is blank; the last where there is none after."""
    at = at + 1 if at < len(text) and text[at].isspace() else at
    return max(0, bisect_right(starts, at) - 1)


def _is_spoken(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


def _weight(character: str) -> float:
    """How long a character takes to say, in letters."""
    if not _is_spoken(character):
        return _MARK
    if character.isnumeric() and not character.isalpha():
        return _CHARACTER
    name = unicodedata.name(character, "")
    if name.startswith("CJK"):
        return _CHARACTER
    return _SYLLABLE if name.startswith(("HIRAGANA", "KATAKANA", "HANGUL")) else _LETTER
