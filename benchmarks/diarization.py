"""Who spoke when: references in RTTM, and the diarization error rate as NIST counts it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

COLLAR = 0.25
"""Seconds left out of the count on each side of a reference boundary: nobody agrees on those to the frame."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody speaks from `start` to `end`, in seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Score:
    """Seconds, of `total` seconds of reference speech."""

    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    total: float = 0.0

    @property
    def der(self) -> float:
        """All errors over the reference speech."""
        return (self.missed + self.false_alarm + self.confusion) / max(self.total, 1e-9)

    def part(self, seconds: float) -> float:
        """So many seconds over the reference speech."""
        return seconds / max(self.total, 1e-9)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confusion + other.confusion,
            self.total + other.total,
        )


def read_rttm(path: Path) -> list[Turn]:
    """A reference: one line a turn, its start and length in the fourth and fifth field, who speaks in the eighth."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("SPEAKER")]
    return [Turn(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows]


def score(reference: Iterable[Turn], found: Iterable[Turn], seconds: float, collar: float = COLLAR) -> Score:
    """The errors of `found` in the first `seconds`, with the best matching of names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = DiarizationErrorRate(collar=2 * collar)
        parts = metric(_annotation(reference), _annotation(found), uem=Timeline([Segment(0.0, seconds)]), detailed=True)
    return Score(*(float(parts[name]) for name in ("missed detection", "false alarm", "confusion", "total")))


def _annotation(turns: Iterable[Turn]) -> Annotation:
    made = Annotation()
    for number, turn in enumerate(turns):
        made[Segment(turn.start, turn.end), number] = turn.speaker
    return made
