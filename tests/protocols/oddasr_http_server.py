"""A real uvicorn server on a free port with OddASR's routes beside OpenAI's, and a service whose answers are known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx
from fastapi import FastAPI
from openai_server import KEY, MAX_BYTES, OTHER_KEY, FakeService, Running
from served import served

from app.protocols.errors import Faces
from app.protocols.oddasr.rest import errors, http, pages, platform, word_lists
from app.protocols.openai import errors as openai_errors
from app.protocols.openai import http as openai_http
from app.protocols.vocabularies import http as vocabularies_http
from app.protocols.vocabularies import sensitive as sensitive_http
from app.service.auth import KeyRing
from app.service.uploads import OPEN_PATHS, RequestId, UploadGuard
from app.service.vocabularies.lists import ListKind
from app.settings import Settings

__all__ = ["KEY", "MAX_BYTES", "OTHER_KEY", "Running", "client", "forget", "serving"]
KINDS: tuple[ListKind, ...] = get_args(ListKind)


def build(service: FakeService, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI(redirect_slashes=False)
    app.state.service = service
    app.state.keyring = keyring = KeyRing(keys)
    for one in (openai_http, vocabularies_http, sensitive_http, http, word_lists, platform, pages):
        app.include_router(one.router)
    faces = Faces(openai_errors.face, errors.FACES)
    faces.install(app)
    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=faces.refusal,
        open_paths=OPEN_PATHS | pages.PATHS,
    )
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(temp: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **settings: object) -> Iterator[Running]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    given = {"temp_dir": temp, "data_dir": data, "max_audio_size": f"{MAX_BYTES}B", **settings}
    service = FakeService(Settings(_env_file=None, **given))
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp, port)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())


def forget(running: Running) -> None:
    """Delete everything that is stored."""
    store, keyring = running.service.vocabularies, KeyRing((KEY, OTHER_KEY))

    async def work() -> None:
        for key in (KEY, OTHER_KEY):
            owner = keyring.owner([(b"api-key", key.encode())])
            for kind in KINDS:
                for one in await store.list(owner, kind=kind):
                    await store.delete(owner, one.id, kind=kind)

    asyncio.run(work())


def client(running: Running, key: str | None = KEY) -> httpx.Client:
    """Who has a key, or none."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=running.base, headers=headers, timeout=10)
