"""The text of a stream where a client can only add to what it was told."""

from __future__ import annotations

from app.domain.events import Final, Partial
from app.domain.transcript import separator
from app.protocols.deltas import missing


class GrowingText:
    """All that was told of a stream: `text` only grows.

    Words are told once two guesses in a row agree on them. Where an utterance's final text differs, what was told
    stands, and what it lacks is added.
    """

    def __init__(self) -> None:
        self.text = ""
        self._said = ""

    def guessed(self, partial: Partial) -> str:
        """What to add while an utterance goes on; "" for nothing."""
        more = partial.stable[len(self._said) :]
        if not more.strip():  # a space alone goes with what follows it
            return ""
        space = "" if self._said else separator(self.text, more)
        self._said = partial.stable
        return self._add(space + more)

    def ended(self, final: Final) -> str:
        """What to add at the utterance's end; "" for nothing."""
        said, self._said = self._said, ""
        if said:
            return self._add(missing(said, final.text))
        return self._add(separator(self.text, final.text) + final.text) if final.text.strip() else ""

    def _add(self, more: str) -> str:
        self.text += more
        return more
