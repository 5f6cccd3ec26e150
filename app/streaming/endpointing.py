"""When utterances begin, pause and end: from the speech probability of each 10 ms to marks on the stream's own clock.

A stretch counts as speech as in files (`engines/fsmn_vad.py spans_of`): where of 200 ms three quarters are. So a short
noise neither begins an utterance nor keeps one from ending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

FRAME = 0.01
"""Seconds of a frame."""
_WINDOW, _LEAST = 20, 15
"""Frames looked at together, and how many of them must be speech."""
_BEGUN = 4
"""Frames of speech that may be a word's beginning."""
PAUSE = 0.3
"""Seconds of quiet after which an utterance may be over: what was said so far is worth being recognised then. Shorter
ones are in every sentence."""


@dataclass(frozen=True, slots=True)
class Onset:
    """Speech begins at `start`, after silence that ended an utterance, or at first."""

    start: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """Speech ended, it seems: the stretch from `start` to `end`; `time` is now."""

    start: float
    end: float
    time: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech goes on at `start`, after a Quiet."""

    start: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The utterance is over: its last stretch of speech was from `start` to `end`; `time` is when that was certain."""

    start: float
    end: float
    time: float


Mark: TypeAlias = Onset | Quiet | Resumed | Endpoint


class Endpointer:
    """Listens to one stream's frames, from `since` on. `silence` is in seconds; None: nothing but `finish` ends an
    utterance."""

    def __init__(self, silence: float | None, since: float = 0.0) -> None:
        self._silence = None if silence is None else max(1, round(silence / FRAME))
        pause = round(PAUSE / FRAME)
        self._pause = pause if self._silence is None else max(1, min(pause, self._silence // 2))
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._frame = round(since / FRAME)  # frames of the stream so far
        # The stretch of speech that goes on, or was heard last: [first, last).
        self._first = self._last = self._frame
        self._speaking = self._quiet = False

    @property
    def speaking(self) -> bool:
        """Whether an utterance goes on."""
        return self._speaking

    @property
    def spoken(self) -> tuple[float, float]:
        """The stretch of speech that goes on, or was heard last; seconds."""
        return self._first * FRAME, self._last * FRAME

    @property
    def time(self) -> float:
        """How far it has listened; seconds."""
        return self._frame * FRAME

    def push(self, frames: Iterable[bool]) -> list[Mark]:
        """What the next frames, each speech or not, mean."""
        return [mark for spoken in frames if (mark := self._next(spoken))]

    def finish(self) -> list[Mark]:
        """The utterance ends here, if one goes on: nothing follows."""
        if not self._speaking:
            return []
        marks: list[Mark] = []
        begun = list(self._recent)[-min(_LEAST, self._frame - self._last) :]
        if self._quiet and sum(begun) >= _BEGUN:  # a word of which the rest does not come
            self._first, self._last = self._frame - len(begun) + begun.index(True), self._frame
            marks.append(Resumed(self._first * FRAME))
        self._speaking = self._quiet = False
        self._recent.clear()
        return [*marks, Endpoint(*self.spoken, self.time)]

    def _next(self, spoken: bool) -> Mark | None:
        self._recent.append(spoken)
        self._frame += 1
        if sum(self._recent) >= _LEAST:
            return self._heard(spoken)
        if not self._speaking:
            return None
        quiet = self._frame - self._last
        if self._silence is not None and quiet >= self._silence and not self._may_go_on(quiet - self._silence):
            self._speaking = self._quiet = False
            return Endpoint(*self.spoken, self.time)
        if not self._quiet and quiet >= self._pause:
            self._quiet = True
            return Quiet(*self.spoken, self.time)
        return None

    def _may_go_on(self, late: int) -> bool:
        """Whether a word seems to begin just now, which takes a moment to be certain."""
        return sum(self._recent) >= _BEGUN and late < _LEAST

    def _heard(self, spoken: bool) -> Mark | None:
        """This frame and those before it are speech."""
        began = self._frame - len(self._recent) + list(self._recent).index(True)
        resumed, started = self._quiet, not self._speaking
        if resumed or started:
            self._first = max(began, self._last)
        if spoken or resumed or started:
            self._last = self._frame if spoken else self._frame - list(reversed(self._recent)).index(True)
        self._speaking, self._quiet = True, False
        if started:
            return Onset(self._first * FRAME)
        return Resumed(self._first * FRAME) if resumed else None
