"""Segments on their way to the caller, masked: each as soon as no term that is in it may go on in another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, join_texts
from app.pipeline.text.masking import LINE, Masker


@dataclass(slots=True)
class _Place:
    """Where a segment stands among the others. `made` is what becomes of it once that is `known`; None: nothing."""

    segment: Segment
    known: bool = False
    made: Segment | None = None


class Hiding:
    """Masks segments. Where channels are kept `apart`, each by itself: one goes on after what another says."""

    def __init__(self, masker: Masker, *, apart: bool) -> None:
        self._masker = masker
        self._apart = apart
        self._waiting: deque[_Place] = deque()
        self._open: dict[Speaker | None, list[_Place]] = {}

    def add(self, segment: Segment) -> list[Segment]:
        """Take in the next segment; returns what can go to the caller now, in order. (May take a while.)"""
        place = _Place(segment)
        self._waiting.append(place)
        own = self._open.setdefault(self._voice(segment), [])
        own.append(place)
        count = self._masker.complete([one.segment for one in own])
        self._make(own[:count])
        del own[:count]
        return self._ready()

    def rest(self) -> list[Segment]:
        """What is left when all were taken in."""
        for own in self._open.values():
            self._make(own)
        self._open.clear()
        return self._ready()

    def transcript(self, text: str, segments: Sequence[Segment]) -> tuple[str, list[Segment]]:
        """All of it, masked: what the transcript and its segments say."""
        if not self._apart:
            return self._masker.together(text, segments)
        places = [_Place(segment) for segment in segments]
        for own in self._voices(places):
            self._make(own)
        made = [place.made for place in places if place.made is not None]
        return join_texts(segment.text for segment in made), made

    def hidden(self, segments: Sequence[Segment]) -> str:
        """What can be read of the segments, without parentheses, a line for each."""
        voices = self._voices([_Place(segment) for segment in segments])
        return LINE.join(self._masker.hidden(LINE.join(place.segment.text for place in own)) for own in voices)

    def _make(self, places: Sequence[_Place]) -> None:
        """Mask neighbours."""
        for place, made in zip(places, self._masker.each([place.segment for place in places]), strict=True):
            place.known, place.made = True, made

    def _ready(self) -> list[Segment]:
        ready: list[Segment] = []
        while self._waiting and self._waiting[0].known:
            place = self._waiting.popleft()
            if place.made is not None:
                ready.append(place.made)
        return ready

    def _voices(self, places: Sequence[_Place]) -> list[list[_Place]]:
        """Those of each channel."""
        found: dict[Speaker | None, list[_Place]] = {}
        for place in places:
            found.setdefault(self._voice(place.segment), []).append(place)
        return list(found.values())

    def _voice(self, segment: Segment) -> Speaker | None:
        return segment.speaker if self._apart else None
