"""Marks between words: set where a recogniser writes none, taken out where they are not wanted, times kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from app.domain.engines import Punctuator
from app.domain.transcript import Word

_ASCII_MARKS = {"，": ",", "。": ".", "？": "?"}
_SENTENCE_ENDS = frozenset("。？")
_MARKS = '，。？！、；：…—,.?!;:"“”‘’()（）《》〈〉「」『』【】[]¿¡'
_INNER = re.compile(r"(?<=[0-9])[.,:：](?=[0-9])|(?<=\w)[’'.](?=\w)")
"""Marks that are part of a number or word: 3.5, 12:30, don't, e.g. (the dot in 卡尔·马克思 always is)."""
_PIECES = re.compile(
    r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff][^\w\s]*"  # a character of a language written without spaces
    r"|[^\s\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]+"  # or what stands between spaces and such characters
)


def punctuated(words: Sequence[Word], punctuator: Punctuator) -> tuple[Word, ...]:
    """The words with marks set: full-width after Chinese, ASCII after Latin words, whose sentences begin with a
    capital.

    Raises:
        EngineFailure: the model failed.
    """
    marks = punctuator.marks([word.text for word in words])
    written: list[Word] = []
    begins = True
    for word, mark in zip(words, marks, strict=True):
        latin = _is_ascii(word.text)
        text = word.text[:1].upper() + word.text[1:] if begins and latin else word.text
        written.append(replace(word, text=text + (_ASCII_MARKS.get(mark, mark) if latin else mark)))
        begins = mark in _SENTENCE_ENDS
    return tuple(written)


def unpunctuated(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words without marks, but with those that are part of a number or word. A word that was nothing but marks
    gives its time and tokens to the one before it (or after it, at the beginning)."""
    bare: list[Word] = []
    orphan: Word | None = None
    for word in words:
        text = _without_marks(word.text)
        if text:
            bare.append(_joined(orphan, replace(word, text=text)) if orphan else replace(word, text=text))
            orphan = None
        elif bare:
            bare[-1] = replace(bare[-1], end=max(bare[-1].end, word.end), tokens=bare[-1].tokens + word.tokens)
        else:
            orphan = _joined(orphan, word) if orphan else word
    return tuple(bare)


def split(text: str) -> tuple[Word, ...]:
    """A text without times as words, marks attached; the words joined again are the text."""
    found = list(_PIECES.finditer(text.strip()))
    gaps = [False, *(before.end() < after.start() for before, after in pairwise(found))][: len(found)]
    return tuple(Word(piece[0], 0.0, 0.0, space_before=gap) for piece, gap in zip(found, gaps, strict=True))


def _joined(orphan: Word, word: Word) -> Word:
    return replace(word, start=min(orphan.start, word.start), tokens=orphan.tokens + word.tokens)


def _without_marks(text: str) -> str:
    kept = {place for match in _INNER.finditer(text) for place in range(match.start(), match.end())}
    return "".join(_bare(text, kept))


def _bare(text: str, kept: set[int]) -> Iterator[str]:
    for place, character in enumerate(text):
        if place in kept or character not in _MARKS:
            yield character


def _is_ascii(text: str) -> bool:
    return text.isascii()
