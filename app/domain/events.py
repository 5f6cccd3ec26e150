"""What a live stream says, whatever protocol it is said in. Times are seconds of the stream's own sound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.transcript import Segment, Word


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks: an utterance begins, which ends with one SpeechStopped and one Final, unless
    it is Cleared.

    `index` counts utterances from 1; `start` is where its speech begins.
    """

    index: int
    start: float


@dataclass(frozen=True, slots=True)
class Partial:
    """What an utterance says so far, all of it. Any of it may still change, but for its beginning, `stable`, which
    only grows from one partial to the next.

    `time` is how far the stream was listened to. It comes after the Final ones of all utterances before its own.
    """

    index: int
    start: float
    time: float
    text: str
    stable: str


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The utterance is over, its text is on its way. `end` is where its speech ended, `time` where that was certain:
    after as much silence as the caller wants, or where it was cut."""

    index: int
    end: float
    time: float


@dataclass(frozen=True, slots=True)
class Final:
    """What an utterance says. Final ones come in order, exactly one for each utterance.

    `text` is "" where what sounded like speech had no words. `start` and `end` are where its speech is, `time` is as in
    SpeechStopped. `segments` are its sentences with their words; `text` is theirs, joined as the language is written.
    `language` is an ISO-639 code. `warnings` name what a reader should know ("repetition_cut").
    """

    index: int
    start: float
    end: float
    time: float
    text: str
    segments: tuple[Segment, ...] = ()
    language: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """All words in order; times are seconds of the stream."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def confidence(self) -> float | None:
        """How sure the recogniser is, 0..1: the mean of the words' own, or else of its tokens'; None where it does not
        say."""
        known = [word.confidence for word in self.words if word.confidence is not None]
        if not known:
            known = [math.exp(one.avg_logprob) for one in self.segments if one.avg_logprob is not None]
        return min(1.0, sum(known) / len(known)) if known else None


@dataclass(frozen=True, slots=True)
class Committed:
    """The caller's `commit`: all sound before it was listened to, which is `time` seconds of it. `last` is the index of
    the last utterance in it (0: there was none), whose Final is on its way if it is not there; `ended`: it would not
    have been over by itself."""

    last: int
    ended: bool
    time: float


@dataclass(frozen=True, slots=True)
class Cleared:
    """The caller's `clear`: what was not over by then is forgotten, so that for the utterance `index` that went on, if
    one did, nothing more comes. `time` is how much sound there was before it."""

    index: int | None
    time: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream's last event: everything was heard. `seconds` is how much sound there was."""

    seconds: float


StreamEvent: TypeAlias = SpeechStarted | Partial | SpeechStopped | Final | Committed | Cleared | Closed
