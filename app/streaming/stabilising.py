"""Which part of a text that is still being spoken will stay: what two guesses in a row agree on.

Source: Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis
Selection", 2020 (local agreement).
"""

from __future__ import annotations

import re
from itertools import zip_longest

_UNIT = re.compile(r"\s*(?:[\u3000-\u30ff\u3400-\u9fff\uf900-\uffef]|[^\s\u3000-\u30ff\u3400-\u9fff\uf900-\uffef]+)")
"""A Chinese or Japanese character or mark, or a word of another language; with the space before it."""


class Stabiliser:
    """One utterance's text so far. `stable` only grows, and `text` begins with it."""

    def __init__(self) -> None:
        self.text = ""
        self.stable = ""
        self._guess: list[str] = []

    def guess(self, text: str) -> bool:
        """Take in another guess at all that was said. Whether there is something new to tell."""
        units = _UNIT.findall(text)
        agreed = _alike(self._guess, units)
        self._guess = units
        kept = _UNIT.findall(self.stable)
        if len(agreed) > len(kept) and _alike(kept, agreed) == agreed[: len(kept)]:
            # The marks at its end depend on what follows.
            self.stable += _unmarked("".join(agreed[len(kept) :]))
        return self._show(text)

    def grow(self, text: str) -> bool:
        """Take in a text of which no more than the end will still change its marks. Whether there is something new."""
        if text.startswith(self.stable):
            self.stable = _unmarked(text)
        return self._show(text)

    def _show(self, text: str) -> bool:
        """A guess that takes back what is stable is shown from there on only."""
        if not text.startswith(self.stable):
            text = self.stable + "".join(_UNIT.findall(text)[len(_UNIT.findall(self.stable)) :])
        changed = text != self.text
        self.text = text
        return changed and bool(text)


def _alike(one: list[str], other: list[str]) -> list[str]:
    """What both begin with, as the second writes it: case and marks are no difference."""
    count = 0
    for first, second in zip_longest(one, other):
        if first is None or second is None or _bare(first) != _bare(second):
            break
        count += 1
    return other[:count]


def _bare(unit: str) -> str:
    bare = "".join(character for character in unit.casefold() if character.isalnum())
    return bare or unit.strip()


def _unmarked(text: str) -> str:
    """Without marks and spaces at its end."""
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    return text[:end]
