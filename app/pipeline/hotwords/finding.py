"""Where terms stand in a text as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from app.pipeline.hotwords.units import Unit, joins, units_of, without_possessive


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    term: int | None = None


class Finder:
    """Finds any of many terms, given as their units, in one pass over a text. Thread-safe after construction.

    A tree of the terms' units: what a text costs does not depend on how many terms there are.
    """

    def __init__(self, terms: Sequence[Sequence[Unit]]) -> None:
        self._root = _Node()
        for number, term in enumerate(terms):
            node = self._root
            for unit in term:
                node = node.children.setdefault(unit.folded, _Node())
            if node is not self._root and node.term is None:
                node.term = number

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """(first unit, unit after the last, term) of `units_of(text)`: leftmost, then longest, never overlapping."""
        units = units_of(text)
        return self.find_among(units, [joins(text[a.end : b.start]) for a, b in pairwise(units)])

    def find_among(self, units: Sequence[Unit], joined: Sequence[bool]) -> list[tuple[int, int, int]]:
        """The same over units; `joined[i]` says whether unit i + 1 can go on what unit i began."""
        found: list[tuple[int, int, int]] = []
        position = 0
        while position < len(units):
            match = self._longest(units, joined, position)
            if match is None:
                position += 1
            else:
                end, term = match
                found.append((position, end, term))
                position = end
        return found

    def _longest(self, units: Sequence[Unit], joined: Sequence[bool], start: int) -> tuple[int, int] | None:
        node, best = self._root, None
        for end in range(start, len(units)):
            if end > start and not joined[end - 1]:
                break
            unit = units[end]
            step = node.children.get(unit.folded) or node.children.get(without_possessive(unit).folded)
            if step is None:
                break
            node = step
            if node.term is not None:
                best = (end + 1, node.term)
        return best
