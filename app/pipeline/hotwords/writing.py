"""A term written in place of recognised words: as words with their times, spaces and marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from app.domain.transcript import Word
from app.pipeline.hotwords.units import HAN

_PARTS = re.compile(rf"(?P<space>\s*)(?P<text>[{HAN}][^\w\s]*|[^\s{HAN}]+)")


def write(term: str, replaced: Sequence[Word], start: int, end: int) -> list[Word]:
    """The term's words in the time of `replaced`.

    `start` and `end` are where the term begins in the first word's text and ends in the last one's: marks outside stay.
    Where there are as many words as before, each keeps its time, and one that reads as before stays as it is.
    """
    parts = [(match["text"], bool(match["space"])) for match in _PARTS.finditer(term)]
    before, after = replaced[0].text[:start], replaced[-1].text[end:]
    texts = [text for text, _ in parts]
    texts[0] = before + texts[0]
    texts[-1] += after
    confidence = min((word.confidence for word in replaced if word.confidence is not None), default=None)
    if len(parts) == len(replaced):
        new = [
            word if word.text == text else replace(word, text=text, confidence=confidence)
            for word, text in zip(replaced, texts, strict=True)
        ]
    else:
        new = _shared(parts, texts, replaced, confidence)
    spaces = [replaced[0].space_before, *(spaced for _, spaced in parts[1:])]
    return [
        word if word.space_before == space else replace(word, space_before=space)
        for word, space in zip(new, spaces, strict=True)
    ]


def _shared(
    parts: Sequence[tuple[str, bool]], texts: Sequence[str], replaced: Sequence[Word], confidence: float | None
) -> list[Word]:
    """Words that share the time of others by length. All the recogniser's tokens go to the first."""
    first, last = replaced[0], replaced[-1]
    total = sum(len(text) for text, _ in parts)
    words: list[Word] = []
    passed = 0
    at = first.start
    for (text, _), whole in zip(parts, texts, strict=True):
        passed += len(text)
        until = last.end if passed == total else first.start + (last.end - first.start) * passed / total
        tokens = () if words else tuple(token for word in replaced for token in word.tokens)
        words.append(Word(whole, at, until, confidence, True, tokens, first.speaker))
        at = until
    return words
