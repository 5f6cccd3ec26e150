"""A service with its real decoders and threads, its real application, and engines that a test decides over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
from pipeline.stubs import StubDetector, StubRecognizer

from app.domain.engines import SpeechSpan
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript
from app.main import create_app
from app.service.admission import Caller
from app.service.service import SpeechService
from app.settings import Settings

SPANS = tuple(SpeechSpan(start, start + 2.0) for start in (1.0, 7.0, 13.0))
"""Speech with long silences between: three pieces."""
ENGLISH = RecognitionOptions(language="en")


@dataclass
class House:
    """The engines that the service will load, and where its files go."""

    temp: Path
    sound: Path
    recognizer: StubRecognizer = field(default_factory=StubRecognizer)
    detector: StubDetector = field(default_factory=lambda: StubDetector(SPANS))
    loading: Callable[[], None] = lambda: None

    def settings(self, **changes: object) -> Settings:
        values: dict[str, object] = {"asr_model": "whisper-base", "asr_threads": 1, "temp_dir": self.temp}
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
            finally:
                await service.close()

        asyncio.run(main())
        assert list(self.temp.iterdir()) == []
        assert children() <= before, "a decoder was left running"

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


async def transcribed(service: SpeechService, sound: Path, options: RecognitionOptions = ENGLISH) -> Transcript:
    """A transcript, as a protocol asks for it."""
    with service.admit(Caller()) as ticket:
        return await service.transcribe(sound, "whisper-base", options, ticket)


async def listen(service: SpeechService, sound: Path) -> AsyncGenerator[Segment | Transcript, None]:
    """A stream, as a protocol asks for it."""
    with service.admit(Caller()) as ticket:
        items = cast(
            "AsyncGenerator[Segment | Transcript, None]", service.stream(sound, "whisper-base", ENGLISH, ticket)
        )
        async with aclosing(items):
            async for item in items:
                yield item


def children() -> set[str]:
    """Processes that this one started and that still run (where the system tells)."""
    pids: set[str] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has just ended
            pids.update(listing.read_text().split())
    return pids
