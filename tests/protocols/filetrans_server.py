"""A real server with Alibaba's file transcription beside the page, and jobs that end as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from jobs_in_memory import FakeJobs, JobService
from openai_server import KEY, MAX_BYTES, OTHER_KEY
from served import served

from app.protocols.aliyun.filetrans import errors, http
from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.service.auth import KeyRing
from app.service.uploads import OPEN_PATHS, RequestId, UploadGuard
from app.settings import Settings
from app.web import pages

__all__ = ["KEY", "OTHER_KEY", "FakeJobs", "Running", "serving"]
TASK = {"file_link": "https://example.com/call.wav", "appkey": "any"}


@dataclass
class Running:
    base: str
    service: JobService

    @property
    def jobs(self) -> FakeJobs:
        return self.service.jobs  # type: ignore[return-value]

    def submit(self, key: str = KEY, path: str = "/", **fields: object) -> httpx.Response:
        """The answer to a task, sent as the SDKs for Python and Java do."""
        query = {"Action": "SubmitTask", "AccessKeyId": key, "Version": "2018-08-17", "Format": "JSON"}
        return httpx.post(f"{self.base}{path}", params=query, data={"Task": json.dumps(TASK | fields)}, timeout=20)

    def task(self, **fields: object) -> str:
        """The id of a new task."""
        answer = self.submit(**fields)
        assert (answer.status_code, answer.json()["StatusText"]) == (200, "SUCCESS"), answer.text
        return answer.json()["TaskId"]

    def poll(self, task_id: str, key: str = KEY) -> httpx.Response:
        query = {"Action": "GetTaskResult", "TaskId": task_id, "AccessKeyId": key}
        return httpx.get(f"{self.base}/", params=query, timeout=20)


def build(service: JobService, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI(title="Speech server", version="1.2.3", redirect_slashes=False)
    app.state.service = service
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(http.router)
    app.include_router(pages.router)
    faces = Faces(openai_errors.face, errors.FACES)
    faces.install(app)
    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=faces.refusal,
        open_paths=OPEN_PATHS | errors.OPEN_PATHS,
    )
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(folder: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **settings: object) -> Iterator[Running]:
    """A server that lives as long as the block."""
    temp = folder / "temp"
    temp.mkdir()
    given = {"temp_dir": temp, "data_dir": folder / "data", "max_audio_size": f"{MAX_BYTES}B", **settings}
    service = JobService(Settings(_env_file=None, **given))
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service)
    finally:
        service._fetcher.close()
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
