"""Text of tokens that are still coming, of which nothing is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from app.engines.paraformer.tokens import Spelled, Tokens, is_latin

_PART = "@@"


class GrowingText:
    """What the tokens so far say. A word that the next token may still change waits for it: one that a part is to
    follow, and letters said one by one, which become an abbreviation (a p p: APP)."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._settled = ""
        self._after_latin = False
        self._open: list[int] = []
        self.ids: tuple[int, ...] = ()

    def add(self, ids: Sequence[int]) -> None:
        """More tokens."""
        self.ids = (*self.ids, *ids)
        self._open += ids

    def settled(self) -> str:
        """The text that stays; each begins with the one before it."""
        words = self._tokens.words(self._open)
        return self._grown(words[:-1] if words and self._may_change(words[-1]) else words)

    def whole(self) -> str:
        """All of the text: nothing follows."""
        return self._grown(self._tokens.words(self._open))

    def _grown(self, words: Sequence[Spelled]) -> str:
        for word in words:
            self._settled += (" " if self._after_latin and word.latin else "") + word.text
            self._after_latin = word.latin
        if words:
            self._open = self._open[words[-1].last :]
        return self._settled

    def _may_change(self, word: Spelled) -> bool:
        span = self._open[word.first : word.last]
        parts = [self._tokens.all[number] for number in span if self._tokens.words([number])]
        return parts[-1].endswith(_PART) or all(len(part) == 1 and is_latin(part) for part in parts)
