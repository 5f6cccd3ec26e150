"""Engines that do what a model cannot be made to do: wait for the test, fail on purpose, hear what they are told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.domain.engines import (
    SAMPLE_RATE,
    Capabilities,
    Hypothesis,
    PieceRequest,
    Sound,
    SpeakerModels,
    SpeechSpan,
    WaitingPiece,
    WaitingRequest,
)
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions, SpeechDetection

ABLE = Capabilities(frozenset({"en", "zh"}), frozenset({"transcribe"}), max_seconds=30, preferred_seconds=15)
Hear = Callable[[PieceRequest], Hypothesis]


def named(request: PieceRequest) -> Hypothesis:
    """A hypothesis whose text is the piece's start."""
    return Hypothesis(f"{request.piece.start:g}", request.options.language or "en", {"en": 1.0})


@dataclass
class StubRecognizer:
    """Hears what `hears` says and notes what it was asked; `held` makes every call wait for `release`.

    `cost` is the piece's length; `key` tells pieces apart that may not share a call.
    """

    hears: Hear = named
    parallel_calls: int = 1
    batch_cost: float = 4.0
    key: Callable[[PieceRequest | WaitingRequest], Hashable] = field(default=lambda _: None)
    held: bool = False
    id: str = "stub"
    capabilities: Capabilities = ABLE
    calls: list[list[PieceRequest]] = field(default_factory=list)
    closed: bool = False
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(0)
        self._at_once = 0
        self._released = 0

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        return request.piece.seconds

    def batch_key(self, request: PieceRequest | WaitingRequest) -> Hashable:
        return self.key(request)

    def recognize(self, requests: Sequence[PieceRequest]) -> list[Hypothesis]:
        with self._lock:
            self.calls.append(list(requests))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.held:
                assert self._gate.acquire(timeout=10), "the test never released this call"
            return [self.hears(request) for request in requests]
        finally:
            with self._lock:
                self._at_once -= 1

    def release(self, calls: int = 1) -> None:
        """Let this many calls go on."""
        self._released += calls
        self._gate.release(calls)

    async def let_go_until(self, work: asyncio.Future[Any]) -> Any:
        """The result of `work`, for which calls are released one at a time, in whatever order they come."""
        while not work.done():
            if len(self.calls) > self._released:
                self.release()
            await asyncio.sleep(0.002)
        return work.result()

    def close(self) -> None:
        self.closed = True

    @property
    def starts(self) -> list[list[float]]:
        """Where the pieces of each call start."""
        return [[request.piece.start for request in call] for call in self.calls]


class Talk:
    """A piece in a recogniser's ears, which a test makes say things and end. May be used from another thread."""

    def __init__(self, request: PieceRequest, said: Callable[[str], None] | None) -> None:
        self.request = request
        self.followed = said is not None
        self.done: asyncio.Future[Hypothesis] = asyncio.get_running_loop().create_future()
        self.cancelled = False
        self._said = said or (lambda _: None)
        self._loop = asyncio.get_running_loop()

    def say(self, text: str) -> None:
        """What was heard so far."""
        self._loop.call_soon_threadsafe(self._said, text)

    def end(self, text: str, language: str | None = None) -> None:
        """What was heard in all; in the language asked for, where none is given."""
        language = language or self.request.options.language or "en"
        self._finish(lambda: self.done.set_result(Hypothesis(text, language, {language: 1.0})))

    def fail(self, error: Exception) -> None:
        """It cannot be recognised."""
        self._finish(lambda: self.done.set_exception(error))

    def _finish(self, finish: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(lambda: None if self.done.done() else finish())


@dataclass
class StubContinuousRecognizer:
    """Takes pieces one by one; each is a `Talk` by its start, and ends when the test says so.

    With `hears`, it is that after `takes` seconds. `cost` is the piece's length.
    """

    hears: Hear | None = None
    takes: float = 0.0
    parallel_calls: int = 8
    available: bool = True
    id: str = "stub"
    capabilities: Capabilities = ABLE
    talks: dict[float, Talk] = field(default_factory=dict)
    order: list[float] = field(default_factory=list)
    closed: bool = False
    at_once: int = 0
    most_at_once: int = 0

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        return request.piece.seconds

    async def hear(self, request: PieceRequest, said: Callable[[str], None] | None = None) -> Hypothesis:
        talk = self.talks[request.piece.start] = Talk(request, said)
        self.order.append(request.piece.start)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hears is None:
                return await talk.done
            await asyncio.sleep(self.takes)
            return self.hears(request)
        except asyncio.CancelledError:
            talk.cancelled = True
            raise
        finally:
            self.at_once -= 1

    def close(self) -> None:
        self.closed = True


def failing_on(*starts: float) -> Hear:
    """Fails on pieces that start there."""

    def hear(request: PieceRequest) -> Hypothesis:
        if request.piece.start in starts:
            raise EngineFailure(f"the piece at {request.piece.start:g} cannot be recognised")
        return named(request)

    return hear


@dataclass
class StubDetector:
    """Finds the spans it was given, whatever the sound; or fails."""

    spans: tuple[SpeechSpan, ...]
    failure: Exception | None = None

    def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
        if self.failure:
            raise self.failure
        return list(self.spans)


@dataclass
class StubSound:
    """`duration` seconds whose samples are all their own second's number; notes what was read."""

    duration: float
    reads: list[tuple[float, float]] = field(default_factory=list)

    def piece(self, start: float, end: float) -> np.ndarray:
        self.reads.append((start, end))
        time.sleep(0)  # a disk gives other threads their turn
        first, last = round(start * SAMPLE_RATE), round(min(end, self.duration) * SAMPLE_RATE)
        return (np.arange(first, last) // SAMPLE_RATE).astype(np.float32)


def request(start: float, seconds: float = 1.0, options: RecognitionOptions | None = None) -> WaitingRequest:
    """A piece of a recording of two hours."""
    return WaitingRequest(WaitingPiece(StubSound(7200.0), start, start + seconds), options or RecognitionOptions())


# --- speakers ---------------------------------------------------------------------------------------------------------

CLOCK_SECONDS = 327.68
"""The time that a sample of 1.0 tells in a sound that tells its own time: 10 ms for each step of 16 bits."""
SIZE = 192
VOICES = np.eye(SIZE, dtype=np.float32)
"""What people sound like: each like nobody else. The last one is whoever speaks when nobody was scheduled."""
Schedule = Sequence[tuple[float, float, int]]
"""Who speaks when: start, end, person."""


def clock(start: float, end: float) -> np.ndarray:
    """Sound between two times, in seconds: every sample tells when it is."""
    return (np.arange(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) / (SAMPLE_RATE * CLOCK_SECONDS)).astype(
        np.float32
    )


def clock_pcm(seconds: float) -> np.ndarray:
    """The same in 16 bits, from the beginning: 10 ms exact."""
    return (np.arange(round(seconds * SAMPLE_RATE)) // (SAMPLE_RATE // 100)).astype(np.int16)


@dataclass
class ClockSound:
    """A recording that tells its own time."""

    duration: float

    def piece(self, start: float, end: float) -> np.ndarray:
        return clock(max(start, 0.0), min(end, self.duration))


@dataclass
class StubSegmenter:
    """Hears who is scheduled to speak, in sound that tells its own time. `before` runs first, and may wait or fail."""

    schedule: Schedule
    before: Callable[[], None] = lambda: None
    id: str = "stub-segmenter"
    chunk_seconds: float = 10.0
    frame_seconds: float = 0.02
    first_frame: float = 0.03
    heard: list[float] = field(default_factory=list)
    """Where each chunk began."""

    def activity(self, sound: np.ndarray) -> np.ndarray:
        self.heard.append(round(float(sound[0]) * CLOCK_SECONDS, 2) if len(sound) else -1.0)
        self.before()
        first, step = round(self.first_frame * SAMPLE_RATE), round(self.frame_seconds * SAMPLE_RATE)
        times = sound[first::step] * np.float32(CLOCK_SECONDS)
        active = np.zeros((len(times), 3), np.bool_)
        for start, end, person in self.schedule:
            active[(times >= start) & (times < end), person % 3] = True
        return active


@dataclass
class StubEncoder:
    """Knows the voice of who is scheduled in the middle of a sound. `before` runs first, and may wait or fail."""

    schedule: Schedule
    voices: np.ndarray = field(default_factory=lambda: VOICES)
    before: Callable[[], None] = lambda: None
    id: str = "stub-encoder"
    lengths: list[float] = field(default_factory=list)

    def embed(self, sounds: Sequence[np.ndarray]) -> np.ndarray:
        self.before()
        self.lengths += [len(sound) / SAMPLE_RATE for sound in sounds]
        return self.voices[np.array([self._person(sound) for sound in sounds], int)]

    def _person(self, sound: np.ndarray) -> int:
        time = float(sound[len(sound) // 2]) * CLOCK_SECONDS
        return next((person for start, end, person in self.schedule if start <= time < end), -1)


@dataclass
class StubSpeakers:
    """Both models, for one schedule."""

    schedule: Schedule
    segmenter: StubSegmenter = field(init=False)
    encoder: StubEncoder = field(init=False)

    def __post_init__(self) -> None:
        self.segmenter = StubSegmenter(self.schedule)
        self.encoder = StubEncoder(self.schedule)

    def models(self) -> SpeakerModels:
        return SpeakerModels(self.segmenter, self.encoder)
