"""A service with its real decoders and threads, its real application, and engines that a test decides over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import pytest
from pipeline.stubs import StubDetector, StubRecognizer, StubSpeakers, clock_pcm
from real.scoring import wav_bytes

from app.domain.engines import SpeakerModels, SpeechSpan
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript
from app.main import create_app
from app.service import helpers, residents
from app.service.admission import Caller
from app.service.service import SpeechService
from app.settings import Settings

SPANS = tuple(SpeechSpan(start, start + 2.0) for start in (1.0, 7.0, 13.0))
"""Speech with long silences between: three pieces."""
SCHEDULE = ((1.0, 3.0, 0), (7.0, 9.0, 1), (13.0, 15.0, 0))
"""Two people: one speaks first and last, the other between."""
ENGLISH = RecognitionOptions(language="en")


@dataclass
class House:
    """The engines that the service will load, and where its files go."""

    temp: Path
    sound: Path
    recognizer: StubRecognizer = field(default_factory=lambda: StubRecognizer(id="whisper-base"))
    detector: StubDetector = field(default_factory=lambda: StubDetector(SPANS))
    speakers: StubSpeakers = field(default_factory=lambda: StubSpeakers(SCHEDULE))
    loading: Callable[[], None] = lambda: None
    loading_speakers: Callable[[], None] = lambda: None

    def settings(self, **changes: object) -> Settings:
        values: dict[str, object] = {
            "asr_model": "whisper-base",
            "asr_threads": 1,
            "temp_dir": self.temp,
            "data_dir": self.temp.parent / "data",
        }
        return Settings(_env_file=None, **values | changes)

    def run(self, scenario: Callable[[SpeechService], Awaitable[None]], **settings: object) -> None:
        """`scenario` with a service that has started (or failed to); everything must be gone afterwards."""
        before = children()

        async def main() -> None:
            service = SpeechService(self.settings(**settings))
            try:
                async with asyncio.timeout(30):
                    await service.start()
                    await scenario(service)
                    assert service.active == 0
                    assert service.waiting_pieces == 0
                    assert work_left() == []
            finally:
                await service.close()

        asyncio.run(main())
        assert list(self.temp.iterdir()) == []
        assert not (left := children() - before), f"left running: {[_command(pid) for pid in left]}"

    def serve(self, scenario: Callable[[httpx.AsyncClient], Awaitable[None]], **settings: object) -> None:
        """`scenario` with a client of the whole application; it may still be loading."""

        async def main() -> None:
            app = create_app(self.settings(**settings))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with (
                asyncio.timeout(30),
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://server") as client,
            ):
                await scenario(client)

        asyncio.run(main())
        assert list(self.temp.iterdir()) == []

    async def post(self, client: httpx.AsyncClient, **data: str) -> httpx.Response:
        files = {"file": await asyncio.to_thread(self.sound.read_bytes)}
        return await client.post("/v1/audio/transcriptions", files=files, data={"language": "en", **data})


def furnished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose engines are loaded by every service from here on; its sound is 16 s that tell their own time."""
    temp, sound = tmp_path / "temp", tmp_path / "sound.wav"
    temp.mkdir()
    sound.write_bytes(wav_bytes(clock_pcm(16.0)))
    made = House(temp, sound)

    def load_recognizer(*_: object) -> StubRecognizer:
        made.loading()
        return made.recognizer

    def load_speakers(*_: object) -> SpeakerModels:
        made.loading_speakers()
        return made.speakers.models()

    for model in ("WHISPER_BASE", "FSMN_VAD", "SPEAKERS"):
        monkeypatch.setenv(f"ASR_MODEL_DIR_{model}", str(tmp_path))
    monkeypatch.setattr(residents, "load_recognizer", load_recognizer)
    monkeypatch.setattr(helpers, "load_detector", lambda *_: made.detector)
    monkeypatch.setattr(helpers, "load_speakers", load_speakers)
    return made


async def transcribed(service: SpeechService, sound: Path, options: RecognitionOptions = ENGLISH) -> Transcript:
    """A transcript, as a protocol asks for it."""
    with service.admit(Caller()) as ticket:
        return await service.transcribe(sound, "whisper-base", options, ticket)


async def listen(
    service: SpeechService, sound: Path, options: RecognitionOptions = ENGLISH
) -> AsyncGenerator[Segment | Transcript, None]:
    """A stream, as a protocol asks for it."""
    with service.admit(Caller()) as ticket:
        items = cast(
            "AsyncGenerator[Segment | Transcript, None]", service.stream(sound, "whisper-base", options, ticket)
        )
        async with aclosing(items):
            async for item in items:
                yield item


def work_left() -> list[str]:
    """Tasks of requests that have not ended."""
    places = ("/transcription.py", "/diarization/", "/merging.py", "_wrap_awaitable")
    return [repr(task) for task in asyncio.all_tasks() if any(place in repr(task) for place in places)]


def _command(pid: str) -> str:
    """What runs as a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return "(gone by now)"


def children() -> set[str]:
    """Processes that this one started and that still run (where the system tells)."""
    pids: set[str] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has just ended
            pids.update(listing.read_text().split())
    return pids
