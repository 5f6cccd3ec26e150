"""What tells speakers apart is loaded, or is not, and the service goes on; voices in uploaded samples."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from house import ENGLISH, SPANS, House, furnished, transcribed
from pipeline.stubs import VOICES, StubSpeakers, clock_pcm
from pipeline.test_batching import until
from real.scoring import wav_bytes

from app.domain.engines import SpeechSpan
from app.domain.errors import (
    AudioTooShort,
    BadAudio,
    DeadlineExceeded,
    DownloadFailed,
    EngineFailure,
    InvalidParameter,
    ModelUnavailable,
    SpeechError,
    UnsupportedFeature,
)
from app.domain.options import RecognitionOptions
from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions, Voiceprint
from app.service.admission import Caller
from app.service.service import SpeechService

SPEAKERS = RecognitionOptions(language="en", speakers=SpeakerOptions())


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


async def voiceprint(service: SpeechService, sound: Path, param: str = "file") -> Voiceprint:
    with service.admit(Caller()) as ticket:
        ticket.begin()
        return await service.voiceprint(sound, ticket, param=param)


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diarization", ["default", "asked"])
def test_they_are_loaded_at_the_start(house: House, diarization: str) -> None:
    async def scenario(service: SpeechService) -> None:
        assert service.tells_speakers
        assert service.encoder_id == "stub-encoder"
        assert service.voice_threshold == service.settings.voice_threshold

    house.run(scenario, speaker_diarization=diarization)


@pytest.mark.parametrize("error", [EngineFailure("the weights are torn"), DownloadFailed("every mirror failed")])
def test_without_them_everything_else_is_served(
    house: House, error: SpeechError, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    house.loading_speakers = fail

    async def scenario(service: SpeechService) -> None:
        assert service.ready
        assert service.failure is None
        assert not service.tells_speakers
        assert (await transcribed(service, house.sound, ENGLISH)).text
        with pytest.raises(ModelUnavailable, match=error.message):
            await transcribed(service, house.sound, SPEAKERS)
        with pytest.raises(ModelUnavailable, match=error.message):
            await voiceprint(service, house.sound)
        with pytest.raises(ModelUnavailable, match=error.message):
            _ = service.encoder_id

    house.run(scenario)
    assert f"speakers will not be told apart: {error.message}" in caplog.text


def test_health_says_whether_speakers_are_told_apart(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(20):
            while True:
                body = (await client.get("/health")).json()
                if body["status"] == "ready":
                    break
                await asyncio.sleep(0.01)
        assert body["speakers"] is True

    house.serve(scenario)


def test_off_loads_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    loaded = False

    def note() -> None:
        nonlocal loaded
        loaded = True

    house.loading_speakers = note

    async def scenario(service: SpeechService) -> None:
        assert service.ready
        assert not service.tells_speakers
        assert (await transcribed(service, house.sound, ENGLISH)).text
        with pytest.raises(UnsupportedFeature, match="SPEAKER_DIARIZATION=off"):
            _ = service.encoder_id
        with pytest.raises(UnsupportedFeature, match="SPEAKER_DIARIZATION=off"):
            await voiceprint(service, house.sound)

    house.run(scenario, speaker_diarization="off")
    assert not loaded
    assert "speakers" not in caplog.text


def test_before_it_is_ready_there_are_no_speakers(house: House) -> None:
    async def main() -> None:
        service = SpeechService(house.settings())
        try:
            assert not service.tells_speakers
            with pytest.raises(ModelUnavailable, match="loading"):
                _ = service.encoder_id
            with pytest.raises(ModelUnavailable, match="loading"):
                await voiceprint(service, house.sound)
        finally:
            await service.close()

    asyncio.run(main())


# --- voiceprints ------------------------------------------------------------------------------------------------------


def test_a_voiceprint_is_what_a_sample_sounds_like(house: House) -> None:
    house.speakers = StubSpeakers([(0.0, 16.0, 3)])

    async def scenario(service: SpeechService) -> None:
        made = await voiceprint(service, house.sound)
        assert made.embedding == pytest.approx(VOICES[3])
        assert (made.seconds, made.encoder) == (sum(span.end - span.start for span in SPANS), "stub-encoder")

    house.run(scenario)
    assert house.recognizer.calls == []


@pytest.mark.parametrize("spans", [(), ((1.0, 1.9),), ((1.0, 1.3), (5.0, 5.3))])
def test_a_sample_with_hardly_any_speech_is_refused(house: House, spans: tuple[tuple[float, float], ...]) -> None:
    house.detector.spans = tuple(SpeechSpan(*span) for span in spans)

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(AudioTooShort, match="a voice needs 1 s") as caught:
            await voiceprint(service, house.sound, "known_speaker_references")
        assert caught.value.param == "known_speaker_references"

    house.run(scenario)


def test_a_sample_of_two_is_refused(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with pytest.raises(InvalidParameter, match="more than one voice") as caught:
            await voiceprint(service, house.sound, "files")
        assert caught.value.param == "files"

    house.run(scenario)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "audio_empty"),
        (b"this is no sound at all", "audio_undecodable"),
        (wav_bytes(clock_pcm(0.05)), "audio_too_short"),
    ],
)
def test_a_sample_that_is_no_sound_is_refused_by_its_name(house: House, content: bytes, code: str) -> None:
    house.sound.write_bytes(content)

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(BadAudio) as caught:
            await voiceprint(service, house.sound, "files[1]")
        assert (caught.value.code, caught.value.param) == (code, "files[1]")

    house.run(scenario)


@pytest.mark.parametrize("broken", ["segmenter", "encoder", "detector"])
def test_a_failing_model_fails_the_sample(house: House, broken: str) -> None:
    def fail() -> None:
        raise EngineFailure("deaf")

    if broken == "detector":
        house.detector.failure = EngineFailure("deaf")
    else:
        getattr(house.speakers, broken).before = fail

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(EngineFailure):
            await voiceprint(service, house.sound)

    house.run(scenario)


def test_a_sample_has_a_deadline_and_may_be_given_up(house: House, gate: threading.Event) -> None:
    house.speakers.segmenter.before = lambda: gate.wait(20)

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(DeadlineExceeded):
            await voiceprint(service, house.sound)
        work = asyncio.create_task(voiceprint(service, house.sound))
        await until(lambda: service.active == 1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        gate.set()

    house.run(scenario, request_timeout_seconds=1.0)


@pytest.mark.parametrize("error", [OSError("disk"), ImportError("scipy"), MemoryError()])
def test_whatever_keeps_them_from_loading_keeps_nothing_else(house: House, error: Exception) -> None:
    def fail() -> None:
        raise error

    house.loading_speakers = fail

    async def scenario(service: SpeechService) -> None:
        assert service.ready
        assert not service.tells_speakers

    house.run(scenario)


def test_a_click_is_somebody_without_a_name(house: House) -> None:
    house.speakers = StubSpeakers(((1.0, 1.15, 0),))
    house.detector.spans = (SpeechSpan(1.0, 1.15),)
    anna = KnownVoice("Anna", (Voiceprint(VOICES[1], 3.0, "stub-encoder"),))

    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", speakers=SpeakerOptions(voices=(anna,)))
        assert (await transcribed(service, house.sound, options)).speakers == (Speaker(0),)

    house.run(scenario)


def test_models_that_are_not_there_are_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODEL_DIR_SPEAKERS")

    async def scenario(service: SpeechService) -> None:
        assert service.ready
        assert not service.tells_speakers
        with pytest.raises(ModelUnavailable, match="not on this machine"):
            await transcribed(service, house.sound, SPEAKERS)

    house.run(scenario, models_dir=house.temp.parent / "nothing", hf_hub_offline=True)
