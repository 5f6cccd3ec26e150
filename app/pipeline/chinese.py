"""Chinese as most readers here expect it: simplified characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import opencc

from app.domain.transcript import Word


class Simplifier:
    """Traditional to simplified characters, for text and for the words that make it. Thread-safe."""

    def __init__(self) -> None:
        self._converter = opencc.OpenCC("t2s")

    def text(self, text: str) -> str:
        """The text in simplified characters."""
        return self._converter.convert(text)

    def words(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words in simplified characters.

        They are converted together, because a character's simplified form can depend on its neighbours, and dealt out
        again by length; should a conversion change the length, each word is converted by itself.
        """
        joined = "".join(word.text for word in words)
        converted = self.text(joined)
        if len(converted) != len(joined):
            return tuple(replace(word, text=self.text(word.text)) for word in words)
        result: list[Word] = []
        position = 0
        for word in words:
            result.append(replace(word, text=converted[position : position + len(word.text)]))
            position += len(word.text)
        return tuple(result)
