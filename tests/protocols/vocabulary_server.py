"""A real uvicorn server on a free port with the routes of vocabularies, their middleware and the real store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from served import served

from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.protocols.vocabularies import http, sensitive
from app.service.auth import KeyRing
from app.service.uploads import RequestId, UploadGuard
from app.service.vocabularies.store import VocabularyStore
from app.settings import Settings

KEY, OTHER_KEY = "test-key-one", "test-key-two"


@dataclass
class Service:
    """What the routes ask of the service."""

    settings: Settings
    vocabularies: VocabularyStore


@dataclass
class Running:
    base: str
    service: Service
    temp: Path

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {key}"}, timeout=20)


def build(service: Service, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI(redirect_slashes=False)
    app.state.service = service
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(http.router)
    app.include_router(sensitive.router)
    faces = Faces(openai_errors.face)
    faces.install(app)
    app.add_middleware(UploadGuard, keyring=keyring, max_bytes=2**30, idle_seconds=0.5, refuse=faces.refusal)
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(folder: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **limits: int) -> Iterator[Running]:
    """A server that lives as long as the block. `limits` are settings."""
    temp = folder / "temp"
    temp.mkdir(exist_ok=True)
    settings = Settings(_env_file=None, temp_dir=temp, data_dir=folder / "data", **limits)
    store = VocabularyStore(
        settings.data_dir / "vocabularies.db",
        max_vocabularies=settings.max_vocabularies,
        max_hotwords=settings.max_hotwords,
        busy_seconds=0.1,
    )
    service = Service(settings, store)
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp)
    finally:
        asyncio.run(store.close())
