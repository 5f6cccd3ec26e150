"""Words to the model's tokens: single characters and Latin words, or words as jieba cuts them.

FunASR's `split_words` does this to a text; here each token also knows which word ends with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.engines.ct_punc.dictionary import read_dictionary
from app.engines.ct_punc.files import WORDS

_ENGLISH = re.compile(r"[a-zA-Z']+")
_PARTS = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Token:
    """What the model looks up, and the place of the word that ends with it (None: inside a word, or across words)."""

    text: str
    word: int | None


class Segmenter(Protocol):
    """Thread-safe."""

    def tokens(self, words: Sequence[str]) -> Iterator[Token]:
        """The tokens of some words, in order. A word of nothing but white space has none."""
        ...


class Characters:
    """For models that know single characters (and whole words of ASCII)."""

    def tokens(self, words: Sequence[str]) -> Iterator[Token]:
        """See Segmenter."""
        for place, word in enumerate(words):
            parts = [part for chunk in word.split() for part in _PARTS.findall(chunk)]
            for number, part in enumerate(parts, start=1):
                yield Token(part, place if number == len(parts) else None)


class JiebaWords:
    """For models that know Chinese words: runs of what is not English are cut by jieba with the model's own dictionary.

    Raises:
        EngineFailure: jieba is not installed, or the dictionary is not one.
    """

    def __init__(self, dictionary: Path) -> None:
        self._jieba = read_dictionary(dictionary)

    def tokens(self, words: Sequence[str]) -> Iterator[Token]:
        """See Segmenter."""
        line, ends = "", dict[int, int]()
        for place, word in enumerate(words):
            chunks = word.split()
            for number, chunk in enumerate(chunks, start=1):
                last = place if number == len(chunks) else None
                if _ENGLISH.fullmatch(chunk):
                    yield from self._cut(line, ends)
                    line, ends = "", {}
                    yield Token(chunk, last)
                else:
                    line += chunk
                    if last is not None:
                        ends[len(line)] = last
        yield from self._cut(line, ends)

    def _cut(self, line: str, ends: dict[int, int]) -> Iterator[Token]:
        position = 0
        for part in self._jieba.cut(line, HMM=False):
            position += len(part)
            yield Token(part, ends.get(position))


def segmenter_of(folder: Path) -> Segmenter:
    """What the model in `folder` was trained with. Blocking. Raises EngineFailure."""
    dictionary = folder / WORDS
    return JiebaWords(dictionary) if dictionary.exists() else Characters()
