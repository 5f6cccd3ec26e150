"""A real uvicorn server on a free port with the routes of resumable uploads, and the real store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fastapi import FastAPI, Request
from served import served
from starlette.types import ASGIApp

from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.protocols.tus import errors
from app.protocols.tus.http import router
from app.service.auth import KeyRing
from app.service.headers import shielded
from app.service.lifecycle import Lifecycle
from app.service.resumable.store import UploadStore
from app.service.uploads import Bound, RequestId, UploadGuard

KEY, OTHER_KEY = "test-key-one", "test-key-two"
MAX_BYTES = 4 * 1024 * 1024
SITE = "https://site.example"
UPLOADS = "/v1/jobs/uploads"
PART = {"content-type": "application/offset+octet-stream"}


@dataclass
class FakeService:
    uploads: UploadStore
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


@dataclass
class Running:
    port: int
    folder: Path
    service: FakeService

    def client(self, key: str | None = KEY) -> httpx.Client:
        headers = {"tus-resumable": "1.0.0"} | ({"authorization": f"Bearer {key}"} if key else {})
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def data(self, location: str) -> bytes:
        return next(path for path in self.files() if path.name == location.rpartition("/")[2]).read_bytes()

    @contextlib.contextmanager
    def sender(self, location: str, offset: int, length: int, *headers: str) -> Iterator[socket.socket]:
        """A connection whose PATCH has just begun."""
        lines = [
            f"PATCH {location} HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            f"authorization: Bearer {KEY}",
            "tus-resumable: 1.0.0",
            "content-type: application/offset+octet-stream",
            f"upload-offset: {offset}",
            f"content-length: {length}",
            *headers,
        ]
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            yield connection


def encoded(**metadata: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())


def wait_for_offset(http: httpx.Client, location: str, offset: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while (found := http.head(location).headers.get("upload-offset")) != str(offset):
        assert time.monotonic() < deadline, f"the offset is {found}, not {offset}"
        time.sleep(0.02)


def build(service: FakeService, keys: tuple[str, ...], idle_seconds: float) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.state.service = service
    app.state.lifecycle = service.lifecycle
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(router)

    @app.post("/v1/other")
    async def other(request: Request) -> int:
        return len(await request.body())

    faces = Faces(openai_errors.face, {router.prefix: errors.face})
    faces.install(app)
    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=1024,
        bounds={"/v1/jobs": Bound(MAX_BYTES, "MAX_JOB_AUDIO_SIZE")},
        idle_seconds=idle_seconds,
        refuse=faces.refusal,
    )
    app.add_middleware(RequestId)
    within = app.build_middleware_stack

    def stack() -> ASGIApp:
        return shielded(within(), origins=[SITE])

    app.build_middleware_stack = stack  # type: ignore[method-assign]
    return app


@contextlib.contextmanager
def serving(
    folder: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), idle_seconds: float = 30.0, max_open: int = 100
) -> Iterator[Running]:
    """A server that lives as long as the block."""
    store = UploadStore(folder / "uploads", max_bytes=MAX_BYTES, retention_seconds=3600, max_open=max_open)
    service = FakeService(store)
    with served(build(service, keys, idle_seconds)) as port:
        yield Running(port, folder / "uploads", service)
    asyncio.run(store.sweep())
