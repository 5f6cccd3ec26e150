"""A real server with Alibaba's HTTP routes, as main assembles it, and a service whose answers are known.

The bytes of a body, or of what lies at an address, say what the service does (see openai_server).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from openai_server import ABLE, KEY, MAX_BYTES, PLAIN, Calls, FakeService
from served import served

from app.audio.fetching.fetcher import Fetcher
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.protocols.aliyun.rest.errors import PATH, face_of
from app.protocols.aliyun.rest.http import router
from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.service.admission import Ticket
from app.service.auth import KeyRing
from app.service.models import ModelState
from app.service.uploads import RequestId, UploadGuard
from app.settings import Settings

ASR, FLASH = f"{PATH}/asr", f"{PATH}/FlashRecognizer"


class AliyunService(FakeService):
    """Also remembers what sound was declared, and says how its models are."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.declared: list[object] = []
        self.is_ready = True
        self.failing: Exception | None = None
        self.failure = None
        self._fetcher = Fetcher(
            networks=settings.audio_address_networks,
            max_bytes=settings.max_audio_size,
            seconds=settings.audio_address_seconds,
            idle_seconds=settings.upload_idle_seconds,
        )

    @property
    def ready(self) -> bool:
        return self.is_ready

    def states(self) -> list[ModelState]:
        return [ModelState(ABLE.id, "loaded"), ModelState(PLAIN.id, "idle")]

    async def transcribe(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: object = None
    ) -> Transcript:
        self.declared.append(declared)
        if self.failing is not None:
            raise self.failing
        return await super().transcribe(path, model, options, ticket, declared)


@dataclass
class Running:
    base: str
    service: AliyunService
    temp: Path

    @property
    def calls(self) -> Calls:
        return self.service.calls

    @property
    def options(self) -> RecognitionOptions:
        """Of the latest recognition."""
        return self.calls.options[-1]

    def post(
        self, path: str = ASR, content: bytes = b"zh", /, headers: dict[str, str] | None = None, **query: object
    ) -> httpx.Response:
        """The answer to a request with the key."""
        told = {"x-nls-token": KEY} | (headers or {})
        asked = {name: str(value) for name, value in query.items()}
        return httpx.post(f"{self.base}{path}", params=asked, content=content, headers=told, timeout=20)


def build(service: AliyunService, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI(redirect_slashes=False, version="1.2.3")
    app.state.service = service
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(router)
    faces = Faces(openai_errors.face, {PATH: face_of(service.settings)})
    faces.install(app)
    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=faces.refusal,
    )
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(folder: Path, *, keys: tuple[str, ...] = (KEY,), **settings: object) -> Iterator[Running]:
    """A server that lives as long as the block."""
    temp = folder / "temp"
    temp.mkdir()
    given = {"temp_dir": temp, "data_dir": folder / "data", "max_audio_size": f"{MAX_BYTES}B", **settings}
    service = AliyunService(Settings(_env_file=None, **given))
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
