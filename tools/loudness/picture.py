"""A recording's levels as a picture: SVG, which any browser shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tools.display import clock, printable
from tools.loudness.figures import dbfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Powers = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_WIDTH, _HEIGHT = 900, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 20, 34, 34
_LOWEST, _STEP = -80, 20
_COLUMNS = 600
_TICKS = 6
_LETTER = 6.9
_SPEECH, _REST, _NOW, _BETTER = "#1f77b4", "#c4c8cc", "#d62728", "#2ca02c"


def draw(name: str, levels: Powers, spoken: Flags, current: float, suggested: float | None) -> str:
    """Bars from the bottom to the level (dBFS) of each 100 ms, speech in blue, the rest in grey; a line for the
    threshold that is set, one for another that is suggested."""
    bounds = [(current, _NOW, "set now")]
    if suggested is not None and suggested != current:
        bounds.append((suggested, _BETTER, "suggested"))
    lines = [*_bars(levels, spoken), *_axes(len(levels) / 10), *(_line(bound, colour) for bound, colour, _ in bounds)]
    told = [(colour, f"{said}: {bound:g} ({dbfs(bound):.0f} dBFS)") for bound, colour, said in bounds]
    title = f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(printable(name))}, dBFS (RMS of 100 ms)</text>'
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12"'
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    ground = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    legend = _legend([(_SPEECH, "speech"), (_REST, "the rest"), *told])
    return "\n".join([frame, ground, title, legend, *lines, "</svg>", ""])


def _bars(levels: Powers, spoken: Flags) -> Iterator[str]:
    """No more than a screen has room for: the loudest of what falls together."""
    places = np.unique(np.linspace(0, len(levels), min(_COLUMNS, len(levels)), endpoint=False).astype(int))
    if not len(places):
        return
    tops = np.maximum.reduceat(levels, places)
    speech = np.maximum.reduceat(spoken, places)
    width, floor = (_WIDTH - _LEFT - _RIGHT) / len(places), _y(_LOWEST)
    for kind, colour in ((False, _REST), (True, _SPEECH)):
        path = "".join(
            f"M{_LEFT + index * width:.1f} {floor:.1f}V{_y(float(tops[index])):.1f}h{width:.2f}V{floor:.1f}z"
            for index in np.flatnonzero(speech == kind)
        )
        yield f'<path d="{path}" fill="{colour}"/>'


def _axes(seconds: float) -> Iterator[str]:
    for level in range(_LOWEST, 1, _STEP):
        y = _y(level)
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level}</text>'
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#888" stroke-width="0.4"/>'
    for tick in range(_TICKS + 1):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * tick / _TICKS
        yield f'<text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{clock(seconds * tick / _TICKS)}</text>'


def _line(bound: float, colour: str) -> str:
    y = _y(dbfs(bound))
    return f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{colour}" stroke-width="1.5" stroke-dasharray="6 3"/>'


def _legend(marks: Sequence[tuple[str, str]]) -> str:
    """Colours and what they mean, from right to left."""
    x, parts = float(_WIDTH - _RIGHT), list[str]()
    for colour, said in reversed(marks):
        parts.append(f'<text x="{x:.0f}" y="20" text-anchor="end">{said}</text>')
        x -= len(said) * _LETTER + 16
        parts.append(f'<rect x="{x:.0f}" y="11" width="10" height="10" fill="{colour}"/>')
        x -= 14
    return "".join(parts)


def _y(level: float) -> float:
    share = (min(max(level, _LOWEST), 0) - _LOWEST) / -_LOWEST
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
