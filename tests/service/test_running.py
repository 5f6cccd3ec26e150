"""What runs is known from when it is let in to its end, and can be ended; its end is logged and told to a meter."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from house import ENGLISH, House, furnished, transcribed
from pipeline.stubs import StubSpeakers
from pipeline.test_batching import until
from service.test_live import ASKED, LIVE, PCM, LiveDetector, loudness
from streaming.talk import said

from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import (
    DeadlineExceeded,
    EndedByOperator,
    EngineFailure,
    NotRunning,
    Overloaded,
    SpeechError,
    StorageFull,
    UploadTooSlow,
)
from app.domain.events import Closed, Final
from app.domain.meters import Meter
from app.service.admission import Caller
from app.service.residents import Loaded, Resident
from app.service.service import SpeechService

CALLER = Caller("0123456789abcdef", None, "192.0.2.7", "req-1", "/v1/audio/transcriptions")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


@pytest.fixture
def live_house(house: House) -> House:
    house.detector = LiveDetector(())
    house.recognizer.hears = loudness
    return house


@dataclass
class Noting(Meter):
    """Notes how things end."""

    ends: list[tuple[str, ...]] = field(default_factory=list)

    def recording(self, model: str, path: str, audio: float, took: float, outcome: str) -> None:
        assert took > 0
        self.ends.append(("recording", model, path, f"{audio:g}", outcome))

    def stream(self, model: str, path: str, audio: float, took: float, outcome: str) -> None:
        assert took > 0
        self.ends.append(("stream", model, path, f"{audio:.1f}", outcome))

    def refused(self, path: str, code: str) -> None:
        self.ends.append(("refused", path, code))


def noting(service: SpeechService) -> list[tuple[str, ...]]:
    """Where the ends of what a service does are noted from here on."""
    meter = Noting()
    service.running._meter = meter
    return meter.ends


def ends(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message in {"recording done", "stream done"}]


async def transcribing(service: SpeechService, sound: Path) -> None:
    with service.admit(CALLER) as ticket:
        await service.transcribe(sound, "whisper-base", ENGLISH, ticket)


def test_a_recording_is_known_from_its_admission_to_its_end(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(service: SpeechService) -> None:
        await transcribed(service, house.sound)  # so that a piece's work is known
        told = noting(service)
        assert service.running.entries == []
        house.recognizer.held, before = True, len(house.recognizer.calls)
        with service.admit(CALLER) as ticket:
            [entry] = service.running.entries
            assert (entry.kind, entry.stage, entry.model, entry.seconds, entry.share) == (
                *("recording", "upload", "", 0.0),
                None,
            )
            work = asyncio.create_task(service.transcribe(house.sound, "whisper-base", ENGLISH, ticket))
            await until(lambda: len(house.recognizer.calls) > before)
            assert (entry.stage, entry.model, entry.seconds) == ("recognise", "whisper-base", 16.0)
            first = entry.share
            assert first is not None
            assert first < 1
            house.recognizer.release(99)
            await work
            assert entry.share == pytest.approx(1.0)
            assert entry.stage == "answer"
            assert service.running.entries == [entry]
        assert service.running.entries == []
        assert told == [("recording", "whisper-base", CALLER.path, "16", "ok")]

    house.run(scenario)
    line = vars(ends(caplog)[-1])
    shown = {name: line[name] for name in ("path", "model", "audio_duration_sec", "outcome", "key")}
    assert shown == {
        "path": CALLER.path,
        "model": "whisper-base",
        "audio_duration_sec": 16.0,
        "outcome": "ok",
        "key": "01234567",
    }
    assert line["duration_ms"] > 0
    assert line["rtf"] > 0


def test_how_recordings_end(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        house.recognizer.held = True
        leaving = asyncio.create_task(transcribing(service, house.sound))
        await until(lambda: bool(house.recognizer.calls))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        house.recognizer.held = False
        house.recognizer.release(99)

        def fail(_: PieceRequest) -> Hypothesis:
            raise EngineFailure("no")

        house.recognizer.hears = fail
        with pytest.raises(EngineFailure):
            await transcribing(service, house.sound)
        assert [one[-1] for one in told] == ["cancelled", "engine_failure"]
        assert service.running.entries == []

    house.run(scenario)


def test_who_is_not_let_in_is_counted(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        with service.admit(CALLER), pytest.raises(Overloaded):
            service.admit(CALLER)
        assert told == [("refused", CALLER.path, "rate_limit_exceeded")]
        assert service.running.entries == []

    house.run(scenario, max_requests=1)


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (StorageFull("full"), ["storage_full"]),
        (Overloaded("too many files", retry_after=1.0), ["rate_limit_exceeded"]),
        (DeadlineExceeded("late"), ["deadline_exceeded"]),
        (UploadTooSlow("slow"), []),
        (EndedByOperator("ended"), []),
    ],
)
def test_what_fails_before_it_is_worked_on_is_counted_where_the_server_is_to_blame(
    house: House, error: SpeechError, counted: list[str]
) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        with pytest.raises(type(error)), service.admit(CALLER):
            raise error
        assert told == [("refused", CALLER.path, code) for code in counted]
        told.clear()

        ticket = service.admit(CALLER)  # whose place is left later, as a connection's is
        for _ in range(2):
            with pytest.raises(type(error)), ticket.worked_on():
                raise error
        assert told == []
        ticket.leave()
        ticket.leave()
        assert told == [("refused", CALLER.path, code) for code in counted]

    house.run(scenario)


def test_a_recording_can_be_ended(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        house.recognizer.held = True
        work = asyncio.create_task(transcribing(service, house.sound))
        await until(lambda: bool(house.recognizer.calls))
        with pytest.raises(NotRunning):
            service.running.end("somebody else's")
        assert service.running.end("req-1") == 1
        with pytest.raises(EndedByOperator, match="operator"):
            await work
        assert told == [("recording", "whisper-base", CALLER.path, "16", "ended_by_operator")]
        assert service.running.entries == []
        house.recognizer.release(99)

    house.run(scenario)


def test_an_upload_that_still_arrives_can_be_ended(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with service.admit(CALLER) as ticket:
            upload = asyncio.create_task(ticket.in_time(asyncio.Event().wait()))
            await asyncio.sleep(0)
            service.running.end("req-1")
            with pytest.raises(EndedByOperator):
                await upload
            with pytest.raises(EndedByOperator):  # and nothing follows
                await service.transcribe(house.sound, "whisper-base", ENGLISH, ticket)

    house.run(scenario)


def test_a_stream_is_known_until_it_is_left(live_house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        sound = said((0, 0.3), (7, 0.6), (0, 1.1))
        async with service.listen("whisper-base", ASKED, LIVE, CALLER, PCM) as stream:
            [entry] = service.running.entries
            assert (entry.kind, entry.stage, entry.model) == ("stream", "listen", "whisper-base")
            await stream.feed(sound.tobytes())
            await until(lambda: entry.seconds > 1)
            await stream.finish()
            events = [event async for event in stream.events()]
            assert isinstance(events[-1], Closed)
        assert told == [("stream", "whisper-base", CALLER.path, "2.0", "ok")]
        assert service.running.entries == []

    live_house.run(scenario)
    line = vars(ends(caplog)[-1])
    assert (line["audio_duration_sec"], line["outcome"], line["key"]) == (2.0, "ok", "01234567")


def test_a_stream_that_waits_for_its_model_is_known_and_can_be_ended(
    live_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)

        async def never(_: Resident) -> Loaded:
            await asyncio.Event().wait()
            raise AssertionError

        async def listen() -> None:
            async with service.listen("whisper-base", ASKED, LIVE, CALLER, PCM):
                raise AssertionError

        with monkeypatch.context() as patched:
            patched.setattr(Resident, "ready", never)
            waiting = asyncio.create_task(listen())
            await until(lambda: bool(service.running.entries))
            [entry] = service.running.entries
            assert (entry.kind, entry.stage, entry.model, entry.seconds) == ("stream", "load", "whisper-base", 0.0)
            assert service.running.end("req-1") == 1
            with pytest.raises(EndedByOperator, match="operator"):
                await waiting
        assert service.running.entries == []
        assert service.active_streams == 0
        assert told == [("stream", "whisper-base", CALLER.path, "0.0", "ended_by_operator")]

    live_house.run(scenario)


def test_a_stream_that_its_client_leaves_is_cancelled(live_house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        async with service.listen("whisper-base", ASKED, LIVE, CALLER, PCM) as stream:
            await stream.feed(bytes(32_000))
        assert told[0][-1] == "cancelled"

    live_house.run(scenario)


def test_a_stream_can_be_ended_after_what_was_heard(live_house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        texts: list[str] = []
        async with service.listen("whisper-base", ASKED, LIVE, CALLER, PCM) as stream:
            await stream.feed(said((0, 0.3), (7, 0.6), (0, 1.2)).tobytes())
            with pytest.raises(EndedByOperator):
                async for event in stream.events():
                    if isinstance(event, Final):
                        texts.append(event.text)
                        service.running.end("req-1")
            with pytest.raises(EndedByOperator):
                await stream.feed(np.zeros(16_000, np.int16).tobytes())
        assert texts == ["w7"]
        assert told[0][-1] == "ended_by_operator"

    live_house.run(scenario)


@pytest.mark.parametrize("wanted", [False, True])
def test_what_was_said_is_logged_only_where_that_is_set(
    live_house: House, caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    live_house.recognizer.hears = loudness

    async def scenario(service: SpeechService) -> None:
        async with service.listen("whisper-base", ASKED, LIVE, CALLER, PCM) as stream:
            await stream.feed(said((0, 0.3), (7, 0.6), (0, 1.1), (9, 0.6)).tobytes())
            await stream.finish()
            assert [event.text async for event in stream.events() if isinstance(event, Final)] == ["w7", "w9"]

    live_house.run(scenario, log_transcripts=wanted)
    logged = [vars(record)["text"] for record in caplog.records if record.message == "transcript"]
    assert logged == (["w7", "w9"] if wanted else [])


def test_a_voice_is_known_and_its_end_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    house.speakers = StubSpeakers([(0.0, 16.0, 3)])

    async def scenario(service: SpeechService) -> None:
        told = noting(service)
        with service.admit(CALLER) as ticket:
            [entry] = service.running.entries
            work = asyncio.create_task(service.voiceprint(house.sound, ticket))
            await until(lambda: entry.stage != "upload")
            assert entry.model == service.encoder_id
            await work
            assert (entry.stage, entry.seconds) == ("answer", 16.0)
            with pytest.raises(SpeechError):
                await service.voiceprint(Path(__file__), ticket)
        assert [one[0] for one in told] == ["recording", "recording"]
        assert [one[1] for one in told] == [service.encoder_id] * 2
        assert [one[-1] for one in told] == ["ok", "audio_undecodable"]

    house.run(scenario, speaker_diarization="asked")
    assert [record.message for record in caplog.records if record.message.endswith(" done")] == ["voice done"] * 2


def test_a_step_s_own_time_limit_is_not_taken_for_an_end(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with service.admit(CALLER) as ticket:

            async def step() -> None:
                raise TimeoutError

            with pytest.raises(TimeoutError):
                await ticket.in_time(step())
            ticket.fail(SpeechError("first"))
            ticket.fail(SpeechError("second"))
            with pytest.raises(SpeechError, match="first"):
                await ticket.failed()

    house.run(scenario)
