"""Word times from the decoder's cross-attention (dynamic time warping, as in the Whisper authors' own code)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from app.domain.transcript import Word
from app.engines.whisper.vocabulary import TokenWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_SECONDS = 0.02
"""One encoder position."""
_LONGEST_WORD = 0.9
"""Seconds. Attention lingers over a pause; the longest a word may sound unless its neighbours are slow as well."""
_CHARACTER = re.compile(r"[^\u3040-\u30ff\u3400-\u9fff]*[\u3040-\u30ff\u3400-\u9fff][^\u3040-\u30ff\u3400-\u9fff]*")
"""A Chinese or Japanese character with the marks and letters around it."""


def token_starts(path: Sequence[tuple[int, int]], tokens: int) -> NDArray[np.float64]:
    """Start of each of `tokens` tokens and of the end token, in seconds, from a warping path of (token, frame)."""
    if not path:
        return np.zeros(tokens + 1)
    steps = np.array(path, dtype=np.int64)
    first_visits = np.concatenate([[True], np.diff(steps[:, 0]) > 0])
    starts = steps[first_visits, 1] * FRAME_SECONDS
    return np.concatenate([starts, np.full(max(0, tokens + 1 - len(starts)), starts[-1])])


def timed_words(
    words: Sequence[TokenWord],
    tokens: Sequence[int],
    starts: NDArray[np.float64],
    probabilities: Sequence[float],
    seconds: float,
) -> tuple[Word, ...]:
    """Words with times inside 0..seconds, in order, each at least one frame long where there is room."""
    lengths = [float(starts[word.first + word.count] - starts[word.first]) for word in words]
    typical = float(np.median([length for length in lengths if length > 0] or [0.0]))
    longest = max(_LONGEST_WORD, 3 * typical)
    timed: list[Word] = []
    clock = 0.0
    for word, length in zip(words, lengths, strict=True):
        end_of_tokens = float(starts[word.first + word.count])
        # Attention lingers over pauses: an overlong word keeps its end if it opens the piece (the pause was before it)
        # and its start otherwise.
        start = end_of_tokens - longest if length > longest and not timed else float(starts[word.first])
        start = min(max(start, clock), seconds)
        end = min(max(min(end_of_tokens, start + longest), start + FRAME_SECONDS), seconds)
        clock = end
        ids = slice(word.first, word.first + word.count)
        confidence = float(np.mean(probabilities[ids])) if len(probabilities) > word.first else None
        timed.extend(_characters(Word(word.text, start, end, confidence, word.space_before, tuple(tokens[ids]))))
    return tuple(timed)


def _characters(word: Word) -> list[Word]:
    """A word of several Chinese or Japanese characters as one word each, its time shared out evenly.

    The tokens stay with the first: one token can be two characters.
    """
    parts: list[str] = _CHARACTER.findall(word.text)
    if len(parts) < 2:
        return [word]
    step = (word.end - word.start) / len(parts)
    first = replace(word, text=parts[0], end=word.start + step)
    others = [
        Word(part, word.start + index * step, word.start + (index + 1) * step, word.confidence, space_before=False)
        for index, part in enumerate(parts[1:], start=1)
    ]
    return [first, *others]
