"""What jieba counts when it is given a dictionary of words: the same numbers as its own `load_userdict`, sooner.

Where a word comes without a count, jieba takes the least with which the word wins over its parts: it cuts the word into
its likeliest parts, and the chance of these together becomes the word's. Each count depends on all before it. Most
words need not be cut to know theirs: 420,000 Chinese ones take 4.3 s of a slow, busy core where jieba takes 13 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from math import log

_CLOSE = 1e-6
"""What is nearer than this is left to jieba's own floating-point steps."""
_MOST = 2**53
"""Beyond this, counts are not exact as floats, and jieba would go on with nonsense."""
_BLOCKS = re.compile(r"([\u4e00-\u9fd5a-zA-Z0-9+#&._%\-]+)")
"""What jieba cuts as one; all other characters stand by themselves."""
_CHINESE = re.compile("[\u4e00-\u9fd5]+")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_LINE = re.compile(r"^(.+?)( [0-9]+)?( [a-z]+)?$")
"""A word, how often it occurs, and its tag."""
_BLANK = " \t\n\r\v\f"
"""What jieba strips: it does so before it decodes a line."""


class WordCounts:
    """How often words occur: `counts` has 0 for what words only begin with, `total` is the sum."""

    def __init__(self, dictionary: str) -> None:
        """`dictionary` is jieba's own, a word with its count and kind a line."""
        fields = dictionary.split()
        numbers = [int(number) for number in fields[1::3]]
        self.counts = dict(zip(fields[::3], numbers, strict=True))
        self.total = sum(numbers)
        for word in fields[::3]:
            self._add_beginnings(word)
        self._frequent = self.total ** (2 / 3)
        frequent = (word for word, count in self.counts.items() if count >= self._frequent)
        self._common = {character for word in frequent for character in word}
        self._uncommon = _uncommon(self._common)

    def add(self, dictionary: str) -> None:
        """Count the words of a user dictionary, one a line, in their order.

        Raises:
            OverflowError: counts are too large.
        """
        counts, known_of = self.counts, self.counts.get
        for word, given in _entries(dictionary):
            known = known_of(word)
            if given is not None:
                count = given
            elif self._is_rare(word):
                count = max(int(known / self.total * self.total) + 1, known) if known else 1
            else:
                count = self._count_of(self._parts(word), known or 0)
            counts[word] = count
            self.total += count
            if known is None:
                self._add_beginnings(word)
            if count >= self._frequent:
                self._common.update(word)
                self._uncommon = _uncommon(self._common)
                if self.total > _MOST:
                    raise OverflowError("counts are too large")

    def _add_beginnings(self, word: str) -> None:
        """0 for what the word begins with; of what is there already, the beginnings are, too."""
        counts = self.counts
        for end in range(len(word) - 1, 0, -1):
            if (beginning := word[:end]) in counts:
                return
            counts[beginning] = 0

    def _count_of(self, parts: Iterable[str], known: int) -> int:
        """The count of a word that is cut into `parts`."""
        chance = 1.0
        for part in parts:
            chance *= self.counts.get(part, 1) / self.total
        return max(int(chance * self.total) + 1, known)

    def _is_rare(self, word: str) -> bool:
        """Whether the word's parts, however it is cut, are too rare to say anything about its count.

        With n parts and total t, they do only if the product of their counts is at least t^(n-1). With three parts or
        more, one of them must then be as frequent as t^(2/3), so that its characters are `_common`; cuts in two are
        looked at. Letters and digits are joined by jieba where they stay single: no word with them is called rare here.
        """
        if len(word) == 1 or not self._uncommon(word):
            return False
        get, most = self.counts.get, self.total * (1 - _CLOSE)
        for place in range(1, len(word)):
            if head := get(word[:place]):
                if (tail := get(word[place:])) and head * tail > most:
                    return False
            elif head is None:
                return True  # nothing that is known begins with this
        return True

    def _parts(self, word: str) -> Iterable[str]:
        """The likeliest cut of a whole word, as jieba's `cut` without its model of unknown words."""
        return self._cut(word) if _CHINESE.fullmatch(word) else self._joined(word)

    def _joined(self, word: str) -> Iterator[str]:
        """The cut of what is not only Chinese: letters and digits that stay single are joined."""
        for block in _BLOCKS.split(word):
            if not _BLOCKS.fullmatch(block):
                yield from block
                continue
            single = ""
            for part in self._cut(block):
                if part in _LETTERS:
                    single += part
                    continue
                if single:
                    yield single
                    single = ""
                yield part
            if single:
                yield single

    def _cut(self, block: str) -> list[str]:
        """The likeliest cut, in jieba's floating-point steps, so that ties fall alike."""
        get, size, log_total = self.counts.get, len(block), log(self.total)
        scores, stops = [0.0] * (size + 1), [0] * size
        for start in range(size - 1, -1, -1):
            best, stop = None, start + 1
            for end in range(start + 1, size + 1):
                count = get(block[start:end])
                if count:
                    score = log(count) - log_total + scores[end]
                    if best is None or score >= best:
                        best, stop = score, end
                elif count is None:
                    break
            scores[start] = scores[start + 1] - log_total if best is None else best
            stops[start] = stop
        parts: list[str] = []
        start = 0
        while start < size:
            parts.append(block[start : stops[start]])
            start = stops[start]
        return parts


def _uncommon(common: set[str]) -> Callable[[str], object]:
    """Tells whether a word is Chinese and has none of the characters."""
    edges = sorted({ord(character) for character in common if _CHINESE.fullmatch(character)})
    starts, ends = [0x4E00, *(edge + 1 for edge in edges)], [*(edge - 1 for edge in edges), 0x9FD5]
    ranges = [f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True) if start <= end]
    return re.compile(f"[{''.join(ranges)}]+").fullmatch


def _entries(dictionary: str) -> Iterator[tuple[str, int | None]]:
    """The words, and their counts where these are given."""
    for raw in dictionary.split("\n"):
        line = raw.strip(_BLANK).lstrip("\ufeff")
        if " " not in line:
            if line:
                yield line, None
        elif match := _LINE.match(line):
            word, said, _ = match.groups()
            yield word, None if said is None else int(said) if len(said) < 20 else _MOST
