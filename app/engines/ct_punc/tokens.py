"""Words as the model knows them: which token stands for which words, and the mark of which token is a word's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Cut = Callable[[str], Sequence[str]]

_LATIN = re.compile(r"[a-zA-Z']+")
_PARTS = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
"""Without a dictionary: what is in ASCII together, every other character by itself."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the place of the word that ends with it; None where it ends inside a word."""

    text: str
    word: int | None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A word, or what is between the spaces of one; `word` is its place if the word ends here."""

    text: str
    word: int | None


def tokens_of(words: Sequence[str], cut: Cut | None = None) -> list[Token]:
    """The words' tokens, as FunASR makes them of the words joined with spaces.

    With `cut`, what stands between Latin words is joined and cut by it, so that a token may be several words. A word
    without a visible character has no token.
    """
    chunks = list(_chunks(words))
    if cut is None:
        return [token for chunk in chunks for token in _attributed(_PARTS.findall(chunk.text), [chunk])]
    tokens: list[Token] = []
    for latin, group in groupby(chunks, key=lambda chunk: _LATIN.fullmatch(chunk.text) is not None):
        run = list(group)
        texts = [chunk.text for chunk in run]
        tokens += _attributed(texts if latin else cut("".join(texts)), run)
    return tokens


def _chunks(words: Sequence[str]) -> Iterator[_Chunk]:
    for place, word in enumerate(words):
        *parts, last = word.split() or [""]
        yield from (_Chunk(part, None) for part in parts)
        if last:
            yield _Chunk(last, place)


def _attributed(texts: Sequence[str], chunks: Sequence[_Chunk]) -> Iterator[Token]:
    """The tokens, which joined are the chunks joined, with the words that end where they end."""
    ends: dict[int, int | None] = {}
    length = 0
    for chunk in chunks:
        length += len(chunk.text)
        ends[length] = chunk.word
    length = 0
    for text in texts:
        length += len(text)
        yield Token(text, ends.get(length))
