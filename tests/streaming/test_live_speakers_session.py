"""Who speaks in a live stream: heard beside the recognition, told with the final text, and never in its way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from app.audio.declared import DeclaredSound
from app.audio.live import open_source
from app.domain.engines import SAMPLE_RATE, Hypothesis, SpeakerModels, SpeechSpan, WaitingRequest
from app.domain.errors import EngineFailure
from app.domain.events import Closed, Final, StreamEvent
from app.domain.speakers import Speaker, SpeakerOptions
from app.pipeline.chinese import ChineseWriting
from app.pipeline.diarization.online import OnlineVoices
from app.pipeline.text.writing import Writing
from app.pipeline.turns import Turn
from app.streaming.hearing import Ear
from app.streaming.recognising import Recognising
from app.streaming.session import LiveSession
from app.streaming.sound import Stretch
from app.streaming.speakers import LiveSpeakers

from .talk import LIVE, OPTIONS, Listener, Loudness, events_of, said

ALICE, BOB = 5, 35
"""Words: low ones are one person's, high ones another's."""
SILENCE = (0, 1.2)
VOICES = np.eye(8, dtype=np.float32)


def person_of(samples: np.ndarray) -> int:
    return int(np.abs(samples).max() * 32768 / 500 > 20)


@dataclass
class Models:
    """A segmenter and an encoder that tell people by how loud their words are. `before` runs first, and may fail or
    wait."""

    before: Callable[[], None] = lambda: None
    id: str = "stub"
    chunk_seconds: float = 10.0
    frame_seconds: float = 0.02
    first_frame: float = 0.01
    heard: list[float] = field(default_factory=list)
    embedded: int = 0

    def activity(self, sound: np.ndarray) -> np.ndarray:
        self.before()
        self.heard.append(len(sound) / SAMPLE_RATE)
        levels = np.abs(sound[: len(sound) // 320 * 320].reshape(-1, 320)).max(axis=1) * 32768 / 500
        return np.stack([(levels > 0.5) & (levels <= 20), levels > 20], axis=1)

    def embed(self, sounds: Sequence[np.ndarray]) -> np.ndarray:
        self.embedded += len(sounds)
        return VOICES[[person_of(sound) for sound in sounds]]

    def pair(self) -> SpeakerModels:
        return SpeakerModels(self, self)


def session_with(models: Models, listener: Listener | None = None) -> LiveSession:
    threads = ThreadPoolExecutor(2)
    speakers = LiveSpeakers(models.pair(), OnlineVoices(SpeakerOptions(), 0.45, "stub"), threads)
    listener = listener or Listener()
    recognising = Recognising(
        listener.submit, listener.able, Writing(ChineseWriting()), OPTIONS, threads, speakers=speakers
    )
    return LiveSession(
        open_source(DeclaredSound("s16le", SAMPLE_RATE), bound=160_000),
        lambda since: Ear(Loudness(), LIVE, None, since),
        recognising,
        threads,
        LIVE,
        longest_piece=90.0,
    )


def finals(events: Sequence[StreamEvent]) -> list[Final]:
    assert isinstance(events[-1], Closed)
    return [event for event in events if isinstance(event, Final)]


def heard(models: Models, *stretches: tuple[int, float], listener: Listener | None = None) -> list[Final]:
    return finals(asyncio.run(events_of(session_with(models, listener), said(*stretches))))


def speakers_of(told: Sequence[Final]) -> list[list[Speaker | None]]:
    return [[segment.speaker for segment in final.segments] for final in told]


def test_every_sentence_has_its_speaker() -> None:
    told = heard(Models(), (ALICE, 2.0), SILENCE, (BOB, 2.0), SILENCE, (ALICE + 1, 1.5), SILENCE)
    assert [final.text for final in told] == ["w5", "w35", "w6"]
    assert speakers_of(told) == [[Speaker(0)], [Speaker(1)], [Speaker(0)]]
    assert [word.speaker for final in told for word in final.words] == [Speaker(0), Speaker(1), Speaker(0)]


def test_two_who_follow_each_other_without_a_pause_have_segments_of_their_own() -> None:
    told = heard(Models(), (ALICE, 2.0), (BOB, 2.0), SILENCE)
    assert [final.text for final in told] == ["w5 w35"]
    assert [segment.text for segment in told[0].segments] == ["w5", "w35"]
    assert speakers_of(told) == [[Speaker(0), Speaker(1)]]


def test_a_speaker_model_that_fails_costs_no_text(caplog: pytest.LogCaptureFixture) -> None:
    calls = iter([None, EngineFailure("The speaker segmentation failed."), ValueError("a bug"), None])

    def sometimes() -> None:
        if (failure := next(calls)) is not None:
            raise failure

    with caplog.at_level(logging.WARNING):
        told = heard(
            Models(sometimes),
            *((ALICE, 2.0), SILENCE, (BOB, 2.0), SILENCE, (BOB, 2.0), SILENCE, (ALICE, 2.0), SILENCE),
        )
    assert [final.text for final in told] == ["w5", "w35", "w35", "w5"]
    assert speakers_of(told) == [[Speaker(0)], [None], [None], [Speaker(0)]]
    assert "a sentence will have no speaker: The speaker segmentation failed." in caplog.text
    assert "ValueError: a bug" in caplog.text
    assert "w35" not in caplog.text


def test_voices_are_heard_while_the_text_is_recognised() -> None:
    """The recogniser answers only after the voices have been heard."""
    voiced = threading.Event()

    class Patient(Listener):
        async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
            assert await asyncio.to_thread(voiced.wait, 10), "the voices waited for the text"
            return await super().submit(request, turn)

    told = heard(Models(voiced.set), (ALICE, 2.0), SILENCE, listener=Patient())
    assert speakers_of(told) == [[Speaker(0)]]


def test_what_is_no_speech_is_nobody() -> None:
    """A level that the listener has no word for takes no number."""

    class Deaf(Listener):
        async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
            hypothesis = await super().submit(request, turn)
            return Hypothesis("", "en", {}) if "w35" in hypothesis.text else hypothesis

    told = heard(Models(), (BOB, 2.0), SILENCE, (ALICE, 2.0), SILENCE, listener=Deaf())
    assert [final.text for final in told] == ["", "w5"]
    assert speakers_of(told) == [[], [Speaker(0)]]


def test_what_was_heard_whole_is_not_heard_again_when_the_piece_goes_on() -> None:
    """Ten seconds that cannot change; what follows them can."""
    models = Models()
    samples = (said((ALICE, 10.5), (0, 0.5), (BOB, 1.0), SILENCE) / 32768).astype(np.float32)
    spans = (SpeechSpan(0.0, 10.5), SpeechSpan(11.0, 12.0))

    async def hear() -> None:
        with ThreadPoolExecutor(1) as threads:
            speakers = LiveSpeakers(models.pair(), OnlineVoices(SpeakerOptions(), 0.45, "stub"), threads)
            await speakers.hear(Stretch(0.0, samples[: round(10.8 * SAMPLE_RATE)]), spans[:1])
            again = await speakers.hear(Stretch(0.0, samples), spans)
            assert again is not None
            assert [len(chunk.windows) > 0 for chunk in again] == [True, True]

    asyncio.run(hear())
    assert [round(seconds) for seconds in models.heard] == [10, 1, 3]


def test_somebody_who_leaves_while_voices_are_heard_leaves_nothing() -> None:
    gate, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        gate.wait(10)

    async def leave() -> None:
        session = session_with(Models(wait))
        async with session:
            await session.feed(said((ALICE, 2.0), SILENCE).tobytes())
            assert await asyncio.to_thread(begun.wait, 10)
        gate.set()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(leave())
