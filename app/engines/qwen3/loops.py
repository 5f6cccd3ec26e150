"""Noticing when a decoder repeats itself without end, while it still speaks."""

from __future__ import annotations

LONGEST_UNIT = 20
"""Tokens. A sentence of a dozen words."""
TOLERATED = 20
"""Repetitions in a row, in all, that may be speech: laughter, counting, a chorus."""
_KEPT = 2
"""Repetitions that are left of a loop."""


class LoopGuard:
    """Follows a stream of tokens and tells when one unit of 1 to 20 tokens stands more than 20 times at its end.

    What may be shown meanwhile are no more than two repetitions of whatever repeats, so that text once shown is still
    the beginning of the text when a loop has been cut; where the repetition ends by itself, all of it may be shown.
    """

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._matches = [0] * (LONGEST_UNIT + 1)  # by length of the unit: tokens in a row that equal those before
        self._unit = 0

    @property
    def unit(self) -> int:
        """Tokens of what repeats without end; 0 as long as nothing does."""
        return self._unit

    @property
    def looping(self) -> bool:
        """Whether the stream is in a loop and should be ended. Stays so; what comes after is not looked at."""
        return self._unit > 0

    @property
    def kept(self) -> int:
        """How many tokens are left once a loop is cut to two repetitions; all of them where there is none."""
        return len(self._tokens) - (TOLERATED + 1 - _KEPT) * self._unit

    @property
    def shown(self) -> int:
        """How many tokens will stand whatever comes. Never falls."""
        if self.looping:
            return self.kept
        held = max((run - unit for unit, run in enumerate(self._matches) if unit and run > unit), default=0)
        return len(self._tokens) - held

    def add(self, token: int) -> None:
        """The next token."""
        if self.looping:
            return
        tokens = self._tokens
        tokens.append(token)
        for unit in range(1, min(LONGEST_UNIT, len(tokens) - 1) + 1):
            same = tokens[-1 - unit] == token
            self._matches[unit] = self._matches[unit] + 1 if same else 0
            if self._matches[unit] >= unit * TOLERATED:
                self._unit = unit
                return
