"""What is being said: an utterance, and the pieces it is recognised in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.engines import Sound, SpeechSpan
from app.pipeline.segmentation import PADDING, Cut, quietest
from app.streaming.stabilising import Stabiliser

if TYPE_CHECKING:
    from app.streaming.recognising import Heard

_LATE = 0.6
"""A piece that must end before a pause does so in the last 40 % of its length."""


@dataclass(slots=True, eq=False)
class OpenPiece:
    """A stretch of an utterance that is recognised by itself. Times are seconds of the stream.

    `spans` is the speech in it, the last of which may go on. `hearing` is its recognition, which may turn out to have
    come too early while the piece is open. `draft` is the latest guess at its text, in `language`.
    """

    start: float
    spans: list[SpeechSpan]
    end: float | None = None
    hearing: asyncio.Task[Heard] | None = None
    draft: str = ""
    drafts: int = 0
    language: str | None = None

    def cut(self) -> Cut:
        """The piece, once it is closed."""
        assert self.end is not None  # noqa: S101 - only closed ones are assembled
        return Cut(self.start, self.end, tuple(self.spans))

    def speak(self, start: float, end: float) -> None:
        """Speech goes on: the stretch from `start` to `end` is the one that was known, longer, or another one."""
        if self.spans and start <= self.spans[-1].end:
            start = self.spans.pop().start
        self.spans.append(SpeechSpan(max(start, self.start), max(end, start)))

    def place_to_cut(self, sound: Sound, room: float) -> float:
        """Where to cut a piece that is longer than `room`: in its widest late pause, or where it is quietest."""
        earliest, latest = self.start + room * _LATE, self.start + room
        pauses = [
            (after.start - before.end, (before.end + after.start) / 2)
            for before, after in zip(self.spans, self.spans[1:], strict=False)
        ]
        late = [(width, place) for width, place in pauses if earliest <= place <= latest]
        return max(late)[1] if late else quietest(sound, earliest, latest)

    def divided(self, place: float) -> OpenPiece:
        """Close it at `place`; returns the piece that goes on from there."""
        before = [span for span in self.spans if span.start < place]
        after = [span for span in self.spans if span.end > place]
        self.spans = [SpeechSpan(span.start, min(span.end, place)) for span in before]
        self.end = place
        return OpenPiece(place, [SpeechSpan(max(span.start, place), span.end) for span in after])


@dataclass(slots=True, eq=False)
class Clock:
    """When things happened to an utterance, in seconds of the machine's own clock: when its first sound was taken up,
    and when it was known to be over. `told`: a text of it was told."""

    began: float = 0.0
    over: float = 0.0
    told: bool = False


@dataclass(slots=True, eq=False)
class Utterance:
    """One utterance: its pieces, the last of which is open, and what it is taken to say so far."""

    index: int
    start: float
    pieces: list[OpenPiece]
    text: Stabiliser = field(default_factory=Stabiliser)
    end: float = 0.0
    time: float = 0.0
    clock: Clock = field(default_factory=Clock)

    @property
    def open(self) -> OpenPiece:
        """The piece that goes on."""
        return self.pieces[-1]


def lead_in(onset: float, spoken_until: float) -> float:
    """Where a piece begins whose speech begins at `onset`, after speech that ended at `spoken_until`."""
    return max(onset - PADDING, (onset + spoken_until) / 2, 0.0)
