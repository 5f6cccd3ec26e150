"""A real uvicorn server on a free port with the routes of voices, the real store, and voiceprints that are known.

The uploaded bytes say whose voice it is, which gives the voiceprint its direction, and perhaps its seconds: "Anna 5".
"short", "damaged" and "bug" fail, "slow" takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from served import served

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.speakers import Voiceprint
from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.protocols.voices.http import router
from app.service.admission import Admission, Caller, Ticket
from app.service.auth import KeyRing
from app.service.uploads import RequestId, UploadGuard
from app.service.voices.store import VoiceStore
from app.settings import Settings

KEY, OTHER_KEY = "test-key-one", "test-key-two"
MAX_BYTES = 1024 * 1024
THRESHOLD = 0.6
_NAMED = re.compile(r"(.*?)(?: ([\d.]+))?", re.DOTALL)


def embedding(name: str) -> np.ndarray:
    direction = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(192)
    return (direction / np.linalg.norm(direction)).astype(np.float32)


@dataclass
class FakeService:
    settings: Settings
    voices: VoiceStore
    encoder_id: str = "encoder-one"
    voice_threshold: float = THRESHOLD
    heard: list[tuple[str, DeclaredSound | None]] = field(default_factory=list)
    cancelled: int = 0

    def __post_init__(self) -> None:
        self.admission = Admission(max_requests=128, max_wait=30, timeout=3600)

    def admit(self, caller: Caller) -> Ticket:
        return self.admission.enter(caller)

    async def voiceprint(
        self, path: Path, ticket: Ticket, declared: DeclaredSound | None = None, param: str = "file"
    ) -> Voiceprint:
        content = (await asyncio.to_thread(path.read_bytes)).decode(errors="replace")
        name, seconds = _NAMED.fullmatch(content[:100]).groups()  # type: ignore[union-attr]
        self.heard.append((name, declared))
        if name == "short":
            raise errors.AudioTooShort("There is hardly any speech.", param=param)
        if name == "damaged":
            raise errors.UndecodableAudio("Not audio.", param=param)
        if name == "bug":
            raise ZeroDivisionError("secret internals")
        try:
            await ticket.in_time(asyncio.sleep(30 if name == "slow" else 0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Voiceprint(embedding(name), float(seconds or 2.0), self.encoder_id)


@dataclass
class Running:
    base: str
    service: FakeService
    temp: Path


def build(service: FakeService, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI(redirect_slashes=False)
    app.state.service = service
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(router)
    faces = Faces(openai_errors.face)
    faces.install(app)
    app.add_middleware(UploadGuard, keyring=keyring, max_bytes=MAX_BYTES, idle_seconds=5.0, refuse=faces.refusal)
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(folder: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), max_voices: int = 1000) -> Iterator[Running]:
    """A server that lives as long as the block."""
    temp = folder / "temp"
    temp.mkdir()
    settings = Settings(_env_file=None, temp_dir=temp, data_dir=folder / "data", max_audio_size=f"{MAX_BYTES}B")
    store = VoiceStore(settings.data_dir / "voices.db", max_voices=max_voices, busy_seconds=0.1)
    service = FakeService(settings, store)
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp)
    finally:
        asyncio.run(store.close())
