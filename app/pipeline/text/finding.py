"""Where any of many terms stand in a text, and where one may have begun that the text breaks off in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.spelling import Piece, apart, grows, pieces_of, without_apostrophes

_END = "\0"
"""After each piece of a key, so that a word is not found in a longer one. No piece has it."""
_APART = "\1"
"""Between pieces that belong to no one term. No term has it."""
_POSSESSIVE = "s"


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A text's pieces, and all of them as one key, in which `places[i]` is where piece i begins (and where the last
    ends)."""

    pieces: Sequence[Piece]
    key: str
    places: Sequence[int]


class TermFinder:
    """Finds terms however they are spaced and marked. Thread-safe.

    Upper and lower case, accents, width and traditional characters make no difference, and neither do spaces and marks
    between pieces: models set those. A term begins and ends where words do; a character of a script without spaces is
    one, and so is a number. What English joins to words ("Falcon's", "Falcon'll") is found with them.

    The terms are sorted: those that a place of the text begins with are found by halving, from the longest on by what
    each begins with. So 10,000 terms cost little more time than one, and no more memory than they take.
    """

    def __init__(self, terms: Iterable[str], chinese: ChineseWriting) -> None:
        self._chinese = chinese
        keys = {key for term in terms for key in self._keys_of(term)}
        self._keys = sorted(keys - {""})
        self._longest = max(map(len, self._keys), default=0)
        self._most_pieces = max((key.count(_END) for key in self._keys), default=0)
        self._shorter = _shorter(self._keys)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where terms stand, as (start, end) in characters, in order; those that overlap are one."""
        keyed = self._keyed(text)
        pieces = keyed.pieces
        found: list[tuple[int, int]] = []
        for first in range(len(pieces)):
            length = self._length_at(keyed.key, keyed.places[first])
            if not length:
                continue
            after = bisect_left(keyed.places, keyed.places[first] + length)
            while after < len(pieces) and pieces[after].ending:
                after += 1
            start, end = pieces[first].start, pieces[after - 1].end
            if found and start < found[-1][1]:
                found[-1] = found[-1][0], max(end, found[-1][1])
            else:
                found.append((start, end))
        return found

    def open_places(
        self, text: str, *, growing: bool = False, chained: bool = False, removed: Collection[int] = ()
    ) -> set[int]:
        """Where terms may have begun that would go on after the end of the text: characters.

        `growing`: so may a word that ends with the text. What may be removed from a place on lets what is before it
        meet what follows. So terms may go on after such places, too: those in `removed`; if `chained`, those found.
        """
        keyed = self._keyed(text)
        pieces = keyed.pieces
        growing = growing and bool(pieces) and grows(text, pieces[-1])
        waiting = [len(pieces), *(number for number, piece in enumerate(pieces) if removed and piece.start in removed)]
        known = {len(pieces)}
        while waiting:
            after = waiting.pop()
            for first in range(max(after - self._most_pieces, 0), after):
                part = keyed.key[keyed.places[first] : keyed.places[after]]
                if growing and after == len(pieces) and self._length_at(part, 0) < len(part):
                    part = part.removesuffix(_END)
                if first not in known and self._begins(part):
                    known.add(first)
                    if chained:
                        waiting.append(first)
        return {pieces[first].start for first in known if first < len(pieces)}

    def _begins(self, part: str) -> bool:
        """Whether a term begins with that and has more."""
        place = bisect_right(self._keys, part)
        return place < len(self._keys) and self._keys[place].startswith(part)

    def _length_at(self, key: str, start: int) -> int:
        """Length of the longest term that stands at this place of a key; 0: none does."""
        ahead = key[start : start + self._longest]
        candidate = bisect_right(self._keys, ahead) - 1
        while candidate >= 0 and not ahead.startswith(self._keys[candidate]):
            candidate = self._shorter[candidate]
        return len(self._keys[candidate]) if candidate >= 0 else 0

    def _keys_of(self, term: str) -> list[str]:
        """A term's key, without a possessive at its end; and its key as it is written without apostrophes."""
        keyed = self._keyed(term)
        last = keyed.pieces[-1] if keyed.pieces else None
        if last is not None and last.ending and last.key == _POSSESSIVE:
            term = term[: keyed.pieces[-2].end]
            keyed = self._keyed(term)
        return [keyed.key, self._keyed(without_apostrophes(term)).key] if apart(term) else [keyed.key]

    def _keyed(self, text: str) -> _Keyed:
        pieces = pieces_of(text)
        simple = self._simplified({piece.key for piece in pieces if piece.han})
        parts = [simple.get(piece.key, piece.key) + _END for piece in pieces]
        following = [*(piece.start for piece in pieces[1:]), len(text)]
        for place, piece in enumerate(pieces):
            if "*" in text[piece.end : following[place]]:  # what was masked there is not to be overlooked
                parts[place] += _APART
        return _Keyed(pieces, "".join(parts), list(accumulate(map(len, parts), initial=0)))

    def _simplified(self, characters: set[str]) -> dict[str, str]:
        """Each character in its simplified form, whatever stands beside it: text and terms are treated alike."""
        ordered = sorted(characters)
        return dict(zip(ordered, self._chinese.text("\n".join(ordered)).split("\n"), strict=True)) if ordered else {}


def _shorter(keys: Sequence[str]) -> list[int]:
    """For each of the sorted keys the longest other one that it begins with; -1: there is none."""
    shorter: list[int] = []
    begun: list[int] = []
    for number, key in enumerate(keys):
        while begun and not key.startswith(keys[begun[-1]]):
            begun.pop()
        shorter.append(begun[-1] if begun else -1)
        begun.append(number)
    return shorter
