"""A streaming recogniser follows what is said: each utterance by a stream of its own, and final texts without it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from app.audio.declared import DeclaredSound
from app.audio.live import open_source
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import EngineFailure
from app.domain.events import Final, Partial, StreamEvent
from app.pipeline.chinese import ChineseWriting
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.text.writing import Writing
from app.streaming.following import Following
from app.streaming.hearing import Ear
from app.streaming.recognising import Recognising
from app.streaming.session import LiveSession
from app.streaming.writing import DraftWriter

from .talk import LIVE, OPTIONS, Listener, Loudness, events_of, name, said, words_in


@dataclass
class Follower:
    """A StreamingRecognizer that hears words as they come; a word of `poison` breaks its stream, and hearing one of
    `stuck` takes forever, nearly."""

    id = "follower"
    languages = frozenset({"zh", "en"})
    chunk_seconds = 0.3
    seconds: float = 0.0
    poison: int = 0
    stuck: int = 0
    free: threading.Event = field(default_factory=threading.Event)
    opened: int = 0
    pushed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> Words:
        self.opened += 1
        return Words(self)


class Words:
    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._samples = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray, *, last: bool = False) -> str:
        with self._follower.lock:
            self._follower.pushed += 1
            self._follower.at_once += 1
            self._follower.most_at_once = max(self._follower.most_at_once, self._follower.at_once)
        time.sleep(self._follower.seconds)
        self._samples = np.concatenate([self._samples, samples])
        words = list(dict.fromkeys(number for number, _, _ in words_in(self._samples)))
        if self._follower.stuck in words:
            self._follower.free.wait(20)
        with self._follower.lock:
            self._follower.at_once -= 1
        if self._follower.poison in words:
            raise EngineFailure("broken")
        return " ".join(map(name, words))


def session_of(follower: Follower, computing: Computing, threads: Executor) -> LiveSession:
    listener = Listener()
    writing = Writing(ChineseWriting())
    writer = DraftWriter(writing, OPTIONS, listener.able, None, threads)
    return LiveSession(
        open_source(DeclaredSound("s16le", SAMPLE_RATE), bound=160_000),
        lambda since: Ear(Loudness(), LIVE, None, since),
        Recognising(listener.submit, listener.able, writing, OPTIONS, threads),
        threads,
        LIVE,
        longest_piece=90.0,
        drafting=lambda tell: Following(follower, writer, computing, None, tell),
    )


def followed(follower: Follower, *sounds: np.ndarray, threads: int = 4, speed: float = 4.0) -> list[list[StreamEvent]]:
    """What streams of these sounds say, all at once."""

    async def run() -> list[list[StreamEvent]]:
        with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(4) as others:
            computing = Computing(ComputeThreads(pool))
            return await asyncio.gather(
                *(events_of(session_of(follower, computing, others), sound, speed=speed) for sound in sounds)
            )

    return asyncio.run(run())


def partials(events: list[StreamEvent], index: int) -> list[Partial]:
    return [event for event in events if isinstance(event, Partial) and event.index == index]


def finals(events: list[StreamEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


TALK = said(
    *((number, 0.4) for number in range(1, 7)), (0, 1.2), *((number, 0.4) for number in range(11, 16)), (0, 1.2)
)


def test_text_only_grows_and_each_utterance_has_a_stream_of_its_own() -> None:
    follower = Follower()
    (events,) = followed(follower, TALK)
    assert finals(events) == ["w1 w2 w3 w4 w5 w6", "w11 w12 w13 w14 w15"]
    for index, first in ((1, "w1"), (2, "w11")):
        texts = [partial.text for partial in partials(events, index)]
        assert len(texts) >= 3
        assert all(after.startswith(before) for before, after in pairwise(texts))
        assert texts[0].startswith(first)
        assert all(partial.stable == partial.text for partial in partials(events, index))
    assert follower.opened == 2


def test_a_stream_that_breaks_costs_its_utterances_guesses_and_nothing_else() -> None:
    follower = Follower(poison=2)
    (events,) = followed(follower, TALK)
    assert finals(events) == ["w1 w2 w3 w4 w5 w6", "w11 w12 w13 w14 w15"]
    assert all("w2" not in partial.text.split() for partial in partials(events, 1))
    assert partials(events, 2)


def test_what_is_over_does_not_hold_up_what_is_said_now() -> None:
    follower = Follower(stuck=5)
    releasing = threading.Timer(8.0, follower.free.set)
    releasing.start()
    (events,) = followed(follower, TALK, speed=1.0)
    follower.free.set()
    releasing.cancel()
    assert finals(events) == ["w1 w2 w3 w4 w5 w6", "w11 w12 w13 w14 w15"]
    assert len(partials(events, 2)) >= 2


def test_who_waits_for_a_turn_is_followed_with_all_that_has_come_meanwhile() -> None:
    quick, slow = Follower(), Follower(seconds=0.5)
    followed(quick, TALK, speed=1.0)
    (events,) = followed(slow, TALK, speed=1.0)
    assert slow.pushed < quick.pushed
    assert partials(events, 1)[-1].text.startswith("w1 w2 w3")
