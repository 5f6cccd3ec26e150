"""Figures for people, and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.display import clock, printable
from tools.loudness.figures import PERCENTILES, Figures, dbfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Powers = NDArray[np.float64]

SETTING = "ASR_NEARFIELD_RMS_THRESHOLD"
_BAR = 30
_STEP = 5
"""dB in a row of the histogram."""


def text(name: str, figures: Figures) -> str:
    """A page about one recording."""
    by = "FSMN-VAD tells speech" if figures.modelled else "speech told by its level alone (FSMN-VAD is not here)"
    count = "1 utterance" if figures.utterances == 1 else f"{figures.utterances} utterances"
    spoken = f"{figures.speech_seconds:.1f} s of speech in {count}"
    head = f"{printable(name)}: {clock(figures.seconds)}, {spoken}; {by}"
    parts = [[head], list(_levels(figures)), list(_histogram(figures)), list(_thresholds(figures)), [_advice(figures)]]
    return "\n\n".join("\n".join(part) for part in parts)


def machine(name: str, figures: Figures) -> dict[str, Any]:
    """The same as JSON. Levels are dBFS, shares 0..1, thresholds RMS of samples in [-1, 1]."""
    tried = [{**asdict(one), "dbfs": round(dbfs(one.threshold), 1)} for one in figures.tried]
    return {
        "file": name,
        "seconds": round(figures.seconds, 3),
        "speech_by": "fsmn-vad" if figures.modelled else "level",
        "speech_seconds": round(figures.speech_seconds, 2),
        "utterances": figures.utterances,
        "percentiles": list(PERCENTILES),
        "levels": dict(figures.percentiles),
        "voices": None if figures.voices is None else asdict(figures.voices),
        "thresholds": tried,
        "current": figures.current,
        "suggested": figures.suggested,
        "reason": figures.reason,
    }


def _levels(figures: Figures) -> Iterator[str]:
    yield "level of 100 ms, dBFS " + "".join(f"{f'{share} %':>8}" for share in PERCENTILES)
    for name, levels in figures.percentiles.items():
        yield f"  {'the rest' if name == 'rest' else name:<20}" + "".join(f"{level:8.1f}" for level in levels)


def _histogram(figures: Figures) -> Iterator[str]:
    """How many of the 100 ms are how loud, speech beside the rest."""
    both = [figures.speech, figures.rest]
    known = np.concatenate(both)
    if not len(known):
        return
    low, high = (int(np.floor(level / _STEP)) * _STEP for level in (known.min(), known.max()))
    edges = np.arange(low, high + 2 * _STEP, _STEP)
    counts = [np.histogram(levels, edges)[0] for levels in both]
    most = max(int(count.max()) for count in counts)
    yield f"{'dBFS':>10}  {'speech':<{_BAR}}  the rest"
    for index in reversed(range(len(edges) - 1)):
        bars = ["█" * int(np.ceil(_BAR * count[index] / most)) for count in counts]
        yield f"{edges[index]:4d} .. {edges[index] + _STEP:3d}  {bars[0]:<{_BAR}}  {bars[1]}".rstrip()


def _thresholds(figures: Figures) -> Iterator[str]:
    two = figures.voices is not None and figures.voices.far is not None
    yield f"threshold             speech ignored{'   of loud voices   of quiet ones' if two else ''}   utterances"
    for one in figures.tried:
        groups = f"{one.ignored_loud:>17.1%}{one.ignored_quiet:>16.1%}" if two else ""
        marks = [what for what, bound in _named(figures) if bound == one.threshold]
        tail = f"   <- {', '.join(marks)}" if marks else ""
        level = f"  {one.threshold:<7g} {dbfs(one.threshold):6.1f} dBFS"
        yield f"{level}  {one.ignored:>14.1%}{groups}{one.utterances:>13}{tail}"


def _named(figures: Figures) -> list[tuple[str, float | None]]:
    return [("set now", figures.current), ("suggested", figures.suggested)]


def _advice(figures: Figures) -> str:
    if figures.suggested is None:
        return f"no threshold is suggested: {figures.reason}"
    return f"suggested: {SETTING}={figures.suggested:g} ({dbfs(figures.suggested):.0f} dBFS): {figures.reason}"
