"""The end of a stream's sound: as much of it as is still to be recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE

if TYPE_CHECKING:
    from app.domain.engines import Samples

_FIRST_ROOM = 4 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Stretch:
    """A copy of some of it, as a Sound whose times are the stream's."""

    start: float
    samples: Samples

    @property
    def duration(self) -> float:
        """Where it ends; seconds of the stream."""
        return self.start + len(self.samples) / SAMPLE_RATE

    def piece(self, start: float, end: float) -> Samples:
        """See Sound.piece."""
        first = round((start - self.start) * SAMPLE_RATE)
        return self.samples[max(0, first) : max(0, round((end - self.start) * SAMPLE_RATE))]


class RollingSound:
    """Grows at its end and is forgotten from its beginning."""

    def __init__(self) -> None:
        self._room: Samples = np.zeros(_FIRST_ROOM, dtype=np.float32)
        self._first = self._last = 0  # samples of the room that are kept
        self._forgotten = 0  # samples of the stream before them

    @property
    def end(self) -> float:
        """How much there was in all; seconds."""
        return (self._forgotten + self._last - self._first) / SAMPLE_RATE

    def append(self, samples: Samples) -> None:
        """More sound."""
        if self._last + len(samples) > len(self._room):
            kept = self._room[self._first : self._last]
            room = max(_FIRST_ROOM, 2 * (len(kept) + len(samples)))
            self._room, old = np.zeros(room, dtype=np.float32), kept
            self._room[: len(old)] = old
            self._first, self._last = 0, len(old)
        self._room[self._last : self._last + len(samples)] = samples
        self._last += len(samples)

    def forget(self, until: float) -> None:
        """What was before `until`, in seconds of the stream, is not needed any more."""
        count = min(round(until * SAMPLE_RATE) - self._forgotten, self._last - self._first)
        if count > 0:
            self._first += count
            self._forgotten += count

    def stretch(self, start: float, end: float) -> Stretch:
        """A copy of what is between two times in seconds, as far as it is kept."""
        first = max(0, round(start * SAMPLE_RATE) - self._forgotten)
        last = max(first, round(end * SAMPLE_RATE) - self._forgotten)
        kept = self._room[self._first : self._last][first:last].copy()
        return Stretch((self._forgotten + first) / SAMPLE_RATE, kept)
