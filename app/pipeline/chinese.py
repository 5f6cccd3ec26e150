"""Chinese as most readers here expect it written: simplified characters and full-width punctuation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import opencc

from app.domain.transcript import Word

_FULL_WIDTH = str.maketrans(",?!;:.", "，？！；：。")
_MARK_AFTER_CHARACTER = re.compile(r"(?<=[\u4e00-\u9fff])[,?!;:.](?![A-Za-z0-9])")


class ChineseWriting:
    """Rewrites recognised Chinese, both text and the words that make it. Thread-safe."""

    def __init__(self) -> None:
        self._simplified = opencc.OpenCC("t2s")

    def text(self, text: str) -> str:
        """The text in simplified characters, ASCII marks after a Chinese character in full width."""
        return _MARK_AFTER_CHARACTER.sub(lambda mark: mark[0].translate(_FULL_WIDTH), self._simplified.convert(text))

    def words(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words, rewritten.

        They are rewritten together, because a character's simplified form can depend on its neighbours, and dealt out
        again by length; should the length change, each word is rewritten by itself.
        """
        joined = "".join((" " if word.space_before else "") + word.text for word in words)
        written = self.text(joined)
        if len(written) != len(joined):
            return tuple(replace(word, text=self.text(word.text)) for word in words)
        result: list[Word] = []
        position = 0
        for word in words:
            position += word.space_before
            result.append(replace(word, text=written[position : position + len(word.text)]))
            position += len(word.text)
        return tuple(result)
