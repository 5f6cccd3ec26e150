"""What becomes of the characters of a text in which terms are masked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.domain.masking import MaskingStyle
from app.pipeline.text.removing import removed

LINE = "\n"
"""Stands between segments; terms go on over it, but nothing is joined."""


def rewritten(text: str, spans: Sequence[tuple[int, int]], style: MaskingStyle) -> list[str]:
    """What each character becomes where terms stand in these places."""
    if style == "remove":
        return removed(text, spans)
    made = list(text)
    for start, end in spans:
        if style == "stars":
            made[start:end] = [sign if sign.isspace() else "*" for sign in text[start:end]]
            continue
        for line in re.finditer(rf"[^{LINE}]+", text[start:end]):
            made[start + line.start()] = "(" + made[start + line.start()]
            made[start + line.end() - 1] += ")"
    return made


def regrouped(cells: Sequence[str], rewritten: Sequence[str]) -> list[str]:
    """What becomes of each cell, where that is known of each of their characters."""
    rest = iter(rewritten)
    return ["".join(next(rest) for _ in cell) for cell in cells]


def touched(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, together with those of the others that overlap them, or what overlaps them."""
    stretches: list[tuple[int, int, bool]] = []
    for start, end, wanted in sorted([(*span, True) for span in spans] + [(*span, False) for span in others]):
        if stretches and start < stretches[-1][1]:
            first, last, so = stretches[-1]
            stretches[-1] = first, max(last, end), so or wanted
        else:
            stretches.append((start, end, wanted))
    return [(start, end) for start, end, wanted in stretches if wanted]
