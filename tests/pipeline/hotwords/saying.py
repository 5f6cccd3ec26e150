"""Recognised words out of plain text, for the tests of hotwords."""

from __future__ import annotations

import re

from app.domain.hotwords import Hotword
from app.domain.transcript import Word, join_words
from app.pipeline.hotwords.correction import Corrected, Corrector

_WORD = re.compile(r"(\s*)([\u4e00-\u9fff][^\w\s]*|[^\s\u4e00-\u9fff]+)")


def words(text: str, confidence: float | None = None) -> list[Word]:
    """A word for each Chinese character and for each run of others, marks attached; 0.2 s each."""
    found = enumerate(_WORD.finditer(text))
    return [Word(match[2], n * 0.2, n * 0.2 + 0.2, confidence, bool(match[1])) for n, match in found]


def corrected(text: str, *terms: str, confidence: float | None = None) -> str:
    """The text after correction towards terms of weight 1."""
    return join_words(correction(text, *terms, confidence=confidence).words)


def correction(text: str, *terms: str, confidence: float | None = None) -> Corrected:
    """The same, with all there is to know."""
    return Corrector([Hotword(term) for term in terms]).correct(words(text, confidence))
