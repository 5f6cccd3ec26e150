"""A small n-gram language model in the ARPA format, counted from lines of tokens.

Interpolated Witten-Bell smoothing: Witten and Bell, "The zero-frequency problem", 1991.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

ORDER = 3
_START, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
Gram = tuple[str, ...]


def write_language_model(path: Path, lines: Iterable[Sequence[str]], order: int = ORDER) -> None:
    """Write the model of `lines` to `path`."""
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for line in lines:
        said = (_START, *line, _END)
        for size in range(1, order + 1):
            for first in range(len(said) - size + 1):
                gram = said[first : first + size]
                if gram != (_START,):
                    counts[size - 1][gram] += 1
    after: list[dict[Gram, Counter[str]]] = []
    for grams in counts:
        followers: dict[Gram, Counter[str]] = defaultdict(Counter)
        for gram, count in grams.items():
            followers[gram[:-1]][gram[-1]] += count
        after.append(followers)
    vocabulary = len(counts[0]) + 1
    chances: dict[Gram, float] = {}
    for followers in after:
        for history, words in followers.items():
            kept = _kept(words)
            for word, count in words.items():
                shorter = chances[(*history[1:], word)] if history else 1 / vocabulary
                chances[(*history, word)] = kept * count / words.total() + (1 - kept) * shorter
    chances[(_UNKNOWN,)] = (1 - _kept(after[0][()])) / vocabulary
    path.write_text(_arpa(counts, after, chances), encoding="utf-8")


def _kept(followers: Counter[str]) -> float:
    """How much of the chance stays with what was seen after a history."""
    return followers.total() / (followers.total() + len(followers))


def _arpa(counts: list[Counter[Gram]], after: list[dict[Gram, Counter[str]]], chances: dict[Gram, float]) -> str:
    levels: list[list[Gram]] = [sorted(grams) for grams in counts]
    levels[0] = [(_UNKNOWN,), (_START,), *levels[0]]
    out = ["\\data\\", *(f"ngram {size}={len(grams)}" for size, grams in enumerate(levels, 1)), ""]
    for size, grams in enumerate(levels, 1):
        out.append(f"\\{size}-grams:")
        for gram in grams:
            line = f"{math.log10(chances.get(gram, 1e-99)):.6f}\t{' '.join(gram)}"
            if size < len(levels):
                followers = after[size].get(gram)
                line += f"\t{math.log10(1 - _kept(followers)) if followers else 0.0:.6f}"
            out.append(line)
        out.append("")
    return "\n".join([*out, "\\end\\", ""])
