"""Cutting the loops a decoder can fall into."""

from __future__ import annotations

from collections.abc import Sequence

_KEPT = 2
"""Repetitions that people do say ("no, no")."""
_LOOP = 5
"""Repetitions in a row from which on it is a loop; shorter units need more, see `collapse`."""
_LONGEST_UNIT = 32


def collapse(tokens: Sequence[int]) -> list[int]:
    """Tokens with every loop (a unit repeated many times in a row) cut to two repetitions.

    A unit of n tokens is a loop from max(5, 12 / n) repetitions on: "ha ha ha ha ha" survives, a phrase said five times
    does not.
    """
    kept: list[int] = []
    position = 0
    while position < len(tokens):
        unit, count = _loop_at(tokens, position)
        if count:
            kept.extend(tokens[position : position + unit * _KEPT])
            position += unit * count
        else:
            kept.append(tokens[position])
            position += 1
    return kept


def _loop_at(tokens: Sequence[int], position: int) -> tuple[int, int]:
    """(length of the unit, repetitions) of the loop that starts at `position`; (0, 0) if none does."""
    for unit in range(1, min(_LONGEST_UNIT, (len(tokens) - position) // _LOOP) + 1):
        pattern = list(tokens[position : position + unit])
        count = 1
        while list(tokens[position + unit * count : position + unit * (count + 1)]) == pattern:
            count += 1
        if count >= max(_LOOP, -(-12 // unit)):
            return unit, count
    return 0, 0
