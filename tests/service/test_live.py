"""Live streams through the whole service: who is let in, what settings do, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from house import House, furnished
from pipeline.stubs import StubDetector
from pipeline.test_batching import until
from streaming.talk import Loudness, said

from app.audio.declared import DeclaredSound
from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import EngineFailure, Overloaded, UndecodableAudio, UnknownModel
from app.domain.events import Closed, Final, StreamEvent
from app.domain.options import LiveOptions, RecognitionOptions
from app.service.admission import Caller
from app.service.live import LiveAdmission
from app.service.service import SpeechService

PCM = DeclaredSound("s16le", 16_000)
ASKED, LIVE = RecognitionOptions(timed=False), LiveOptions()


@dataclass
class LiveDetector(StubDetector):
    """Also listens live: to what is loud."""

    def open(self) -> Loudness:
        return Loudness()


def loudness(request: PieceRequest) -> Hypothesis:
    """A piece's text is how many different levels of sound it has."""
    levels = {int(level) for level in np.round(request.piece.samples * 32768 / 500) if level}
    return Hypothesis(" ".join(f"w{level}" for level in sorted(levels)), "en", {"en": 1.0})


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = furnished(tmp_path, monkeypatch)
    house.detector = LiveDetector(())
    house.recognizer.hears = loudness
    return house


async def heard(
    service: SpeechService, sound: np.ndarray, live: LiveOptions = LIVE, declared: DeclaredSound | None = PCM
) -> list[StreamEvent]:
    async with service.listen("whisper-base", ASKED, live, Caller(), declared) as stream:
        await stream.feed(sound.tobytes())
        await stream.finish()
        return [event async for event in stream.events()]


def texts(events: list[StreamEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def test_a_stream_is_heard_and_leaves_nothing(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        events = await heard(service, said((0, 0.3), (7, 0.6), (0, 1.2), (9, 0.6)))
        assert texts(events) == ["w7", "w9"]
        assert isinstance(events[-1], Closed)
        assert service.active_streams == 0

    house.run(scenario)


def test_eight_kilohertz_and_g711_are_heard_at_their_rate(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        half_speed = said((0, 0.3), (40, 0.6), (0, 1.2))[::2].copy()
        events = await heard(service, half_speed, declared=DeclaredSound("s16le", 8_000))
        final = next(event for event in events if isinstance(event, Final))
        assert (final.start, final.end) == (pytest.approx(0.3, abs=0.03), pytest.approx(0.9, abs=0.03))

    house.run(scenario)


def test_quiet_voices_are_ignored_unless_the_filter_is_off(house: House, caplog: pytest.LogCaptureFixture) -> None:
    quiet = said((0, 0.3), (1, 0.6), (0, 1.5))  # 500 of 32768: an RMS of 0.015

    async def scenario(service: SpeechService) -> None:
        assert texts(await heard(service, quiet)) == []
        assert texts(await heard(service, quiet, LiveOptions(near_field=False))) == ["w1"]

    with caplog.at_level("INFO", "app.streaming"):
        house.run(scenario, asr_enable_nearfield_filter=True, asr_nearfield_rms_threshold=0.02)
    assert "0.6 s of speech ignored, level at most -36 dBFS" in caplog.text
    caplog.clear()

    async def at_default(service: SpeechService) -> None:
        assert texts(await heard(service, quiet)) == ["w1"]

    house.run(at_default, asr_enable_nearfield_filter=True)

    async def not_switched_on(service: SpeechService) -> None:
        assert texts(await heard(service, quiet)) == ["w1"]
        assert texts(await heard(service, quiet, LiveOptions(near_field=True))) == []

    with caplog.at_level("INFO", "app.streaming"):
        house.run(
            not_switched_on,
            asr_nearfield_rms_threshold=0.02,
            asr_nearfield_filter_log_enabled=False,
        )
    assert "ignored" not in caplog.text


def test_there_are_only_so_many(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(service.listen("whisper-base", ASKED, LIVE, Caller(), PCM))
            assert service.active_streams == 3
            with pytest.raises(Overloaded, match="listening to 3 live streams"):
                await stack.enter_async_context(service.listen("whisper-base", ASKED, LIVE, Caller(), PCM))
        assert service.active_streams == 0
        assert texts(await heard(service, said((2, 0.5)))) == ["w2"]

    house.run(scenario, max_live_streams=3)


def test_one_key_cannot_take_all_places() -> None:
    admission = LiveAdmission(8, keys=2)
    places = [admission.place(Caller("one")) for _ in range(7)]
    for place in places[:6]:
        place.__enter__()
    with pytest.raises(Overloaded):
        places[6].__enter__()
    with admission.place(Caller("two")):
        assert admission.active == 7


def test_what_cannot_be_listened_to_is_said(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with pytest.raises(UnknownModel):
            async with service.listen("nobody", ASKED, LIVE, Caller(), PCM):
                pass
        with pytest.raises(UndecodableAudio):
            async with service.listen("whisper-base", ASKED, LIVE, Caller(), DeclaredSound("s16le", 1)) as stream:
                await stream.feed(b"\0\0")
        assert service.active_streams == 0

    house.run(scenario)


def test_a_recogniser_that_fails_fails_the_stream_and_no_other(house: House) -> None:
    def hears(request: PieceRequest) -> Hypothesis:
        hypothesis = loudness(request)
        if hypothesis.text == "w13":
            raise EngineFailure("broken")
        return hypothesis

    house.recognizer.hears = hears

    async def scenario(service: SpeechService) -> None:
        good, bad = await asyncio.gather(
            heard(service, said((4, 0.5))), heard(service, said((13, 0.5))), return_exceptions=True
        )
        assert isinstance(bad, EngineFailure)
        assert not isinstance(good, BaseException)
        assert texts(good) == ["w4"]

    house.run(scenario)


def test_a_client_that_vanishes_in_the_middle_of_a_word_leaves_nothing(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        async with service.listen("whisper-base", ASKED, LIVE, Caller(), PCM) as stream:
            await stream.feed(said((5, 1.0), (0, 0.5)).tobytes())
            await until(lambda: bool(house.recognizer.calls))
        assert service.active_streams == 0
        house.recognizer.release(len(house.recognizer.calls))

    house.run(scenario)
