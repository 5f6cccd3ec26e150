"""What every dialect's session asks for and is told, in one shape. Times in a stream are its seconds; `at`, `sent` and
the like are seconds of time.perf_counter."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from typing import Literal


class StreamFailedError(Exception):
    """The server refused the stream or gave it up, or the connection ended too early.

    `status` is the server's own code, an HTTP status, or "unreachable", "closed", "late".
    """

    def __init__(self, status: int | str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class UnspeakableError(Exception):
    """A wish that the dialect has no words for."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to be heard; what is None or empty is as the server has it.

    `silence`: milliseconds that end a sentence. `token`: an API key. `guesses`: whether texts are wanted before they
    are final; dialects that always tell them do so.
    """

    language: str | None = None
    model: str | None = None
    hotwords: tuple[str, ...] = ()
    token: str | None = None
    silence: int | None = None
    speakers: bool = False
    guesses: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """What the server said of one sentence: that it began, its text so far (all of it), or its final text.

    `index` counts from 1. `start` and `end` are where its speech is; `time` is where its end was certain. Each is None
    where the dialect does not tell.
    """

    kind: Literal["started", "partial", "final"]
    index: int
    at: float
    text: str = ""
    start: float | None = None
    end: float | None = None
    time: float | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of sound that was sent: where it ends in the stream (seconds), when a microphone would have had it, and
    when it was sent (time.perf_counter)."""

    end: float
    due: float
    sent: float


@dataclass(slots=True)
class Heard:
    """Everything a session was told, and everything it sent.

    `stopped` is when the client said that there is no more, `finished` when the server did.
    """

    events: list[Said] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    stopped: float = math.inf
    finished: float = math.inf

    @property
    def sentences(self) -> list[Said]:
        """Final texts, in the order they came."""
        return [event for event in self.events if event.kind == "final"]

    @property
    def guesses(self) -> list[Said]:
        """Texts that were not final."""
        return [event for event in self.events if event.kind == "partial"]

    @property
    def texts(self) -> list[str]:
        """Each sentence's."""
        return [sentence.text for sentence in self.sentences]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(text.strip() for text in self.texts)

    @property
    def seconds(self) -> float:
        """How much sound was sent."""
        return self.frames[-1].end if self.frames else 0.0

    @property
    def slip(self) -> float:
        """Seconds by which the frame that was sent latest came too late."""
        return max((frame.sent - frame.due for frame in self.frames), default=0.0)

    @property
    def after_the_end(self) -> float:
        """Seconds from the last word of the client to the last of the server."""
        return self.finished - self.stopped

    def sent_at(self, seconds: float) -> float:
        """When the frame was sent that holds a time of the stream."""
        number = bisect.bisect_left(self.frames, seconds - 1e-6, key=lambda frame: frame.end)
        return self.frames[min(number, len(self.frames) - 1)].sent

    def final_delays(self) -> list[float]:
        """For each sentence whose times are told: seconds from sending the sound in which its end became certain (or
        else its last sound) to its text."""
        certain = [(one.at, one.time if one.time is not None else one.end) for one in self.sentences]
        return [at - self.sent_at(time) for at, time in certain if time is not None]

    def first_delays(self) -> list[float]:
        """For each sentence that had a text before its end, and whose beginning is told: seconds from sending its first
        sound to its first text."""
        first: dict[int, float] = {}
        begins: dict[int, float] = {}
        for event in self.events:
            if event.start is not None and (event.kind == "final" or event.index not in begins):
                begins[event.index] = event.start
            if event.kind == "partial" and event.text:
                first.setdefault(event.index, event.at)
        return [at - self.sent_at(begins[index]) for index, at in first.items() if index in begins]
