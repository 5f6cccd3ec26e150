"""Sound that says what it means, and models that hear it: for what real models cannot be made to do.

A word is a stretch of one loudness, of which there are as many as there are words; what is not loud is silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from app.audio.declared import DeclaredSound
from app.audio.live import open_source
from app.domain.engines import SAMPLE_RATE, Capabilities, Hypothesis, WaitingRequest
from app.domain.errors import SpeechError
from app.domain.events import StreamEvent
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.transcript import Word
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.writing import Writing
from app.pipeline.turns import Turn, Urgency
from app.streaming.drafting import Guessing
from app.streaming.hearing import Ear
from app.streaming.recognising import Recognising
from app.streaming.session import LiveSession
from app.streaming.timing import Timing
from app.streaming.writing import DraftWriter

LIVE, OPTIONS = LiveOptions(), RecognitionOptions()
FRAME = 160
LOUDEST = 60
"""Words there are."""
ABLE = Capabilities(
    languages=frozenset({"en"}),
    tasks=frozenset({"transcribe"}),
    max_seconds=30,
    preferred_seconds=15,
    max_silence=1.0,
    word_times=True,
)


def said(*stretches: tuple[int, float]) -> np.ndarray:
    """int16 samples: for each stretch a word's number (0: silence) and seconds."""
    parts = [np.full(round(seconds * SAMPLE_RATE), word * 500, np.int16) for word, seconds in stretches]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def name(word: int) -> str:
    return f"w{word}"


def words_in(samples: np.ndarray) -> list[tuple[int, float, float]]:
    """Each stretch of one loudness: its number, start and end in seconds."""
    numbers = np.round(samples * 32768 / 500).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(numbers)]
    found = [(int(numbers[a]), a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in pairwise(edges) if b > a]
    return [one for one in found if one[0]]


class Loudness:
    """A VoiceActivityStream: what is loud is speech."""

    threshold = 0.5

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        self._samples = np.concatenate([self._samples, samples])
        count = len(self._samples) // FRAME
        frames = self._samples[: count * FRAME].reshape(count, FRAME)
        self._samples = self._samples[count * FRAME :]
        return (np.abs(frames).mean(axis=1) > 0.01).astype(np.float32)


@dataclass
class Listener:
    """A recogniser's queue: hears words, `seconds` later; fails on the words of `poison`."""

    seconds: float = 0.0
    poison: dict[int, SpeechError] = field(default_factory=dict)
    able: Capabilities = ABLE
    asked: list[tuple[Urgency, float, float, str]] = field(default_factory=list)
    """What it was asked to hear: how urgent, from and until when, and how the text begins."""
    at_once: int = 0
    drafts_at_once: int = 0
    most_drafts: int = 0

    async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
        piece = request.piece
        self.asked.append((turn.urgency, piece.start, piece.end, request.prefix))
        self.at_once += 1
        self.drafts_at_once += turn.urgency is not Urgency.FINAL
        self.most_drafts = max(self.most_drafts, self.drafts_at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
            self.drafts_at_once -= turn.urgency is not Urgency.FINAL
        words = [Word(name(number), start, end, 0.9) for number, start, end in words_in(piece.read().samples) if number]
        for number, error in self.poison.items():
            if any(word.text == name(number) for word in words):
                raise error
        text = " ".join(word.text for word in words)
        timed = tuple(words) if request.options.timed else ()
        return Hypothesis(text, request.options.language or "en", {"en": 1.0}, timed)


def session_of(
    listener: Listener,
    live: LiveOptions = LIVE,
    options: RecognitionOptions = OPTIONS,
    *,
    bound: int = 160_000,
    timing: Timing | None = None,
) -> LiveSession:
    """A session over a listener. Its source and threads end with the test's loop."""
    threads = ThreadPoolExecutor(2)
    writing = Writing(ChineseWriting())
    recognising = Recognising(listener.submit, listener.able, writing, options, threads)
    writer = DraftWriter(writing, options, listener.able, None, threads)
    return LiveSession(
        open_source(DeclaredSound("s16le", SAMPLE_RATE), bound=bound),
        lambda since: Ear(Loudness(), live, None, since),
        recognising,
        threads,
        live,
        longest_piece=90.0,
        drafting=lambda tell: Guessing(recognising, writer, tell),
        timing=timing,
    )


async def play(session: LiveSession, sound: np.ndarray, *, block: float = 0.1, speed: float = 0.0) -> None:
    """The whole sound in blocks of so many seconds, so many times as fast as it was said; 0: at once."""
    size = round(block * SAMPLE_RATE)
    for start in range(0, len(sound), size):
        await session.feed(sound[start : start + size].tobytes())
        if speed:
            await asyncio.sleep(block / speed)
    await session.finish()


async def events_of(
    session: LiveSession, sound: np.ndarray, *, block: float = 0.1, speed: float = 0.0
) -> list[StreamEvent]:
    """Everything it says."""
    async with session:
        playing = asyncio.create_task(play(session, sound, block=block, speed=speed))
        events = [event async for event in _all(session)]
        await playing
    return events


async def _all(session: LiveSession) -> AsyncIterator[StreamEvent]:
    async for event in session.events():
        yield event
