"""Words as protocols show them by themselves."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace

from app.domain.transcript import Word

_SPOKEN = frozenset("%％‰#＃&＆@＠*/\\")
"""Marks that are read aloud: of 50%, of C#."""


def bare_words(words: tuple[Word, ...]) -> Iterator[Word]:
    """Words without the marks round them that are none of their sound."""
    for word in words:
        first, last = 0, len(word.text)
        while first < last and _is_mark(word.text[first]):
            first += 1
        while last > first and _is_mark(word.text[last - 1]):
            last -= 1
        if first < last:
            yield replace(word, text=word.text[first:last])


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in _SPOKEN
