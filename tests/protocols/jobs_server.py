"""The server of openai_server.py with /v1/jobs and a real database. Nobody works on its jobs but the test, as a runner
would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import httpx
from openai_server import KEY, OTHER_KEY, TRANSCRIPTS, FakeService, build
from served import served

from app.domain.engines import Hypothesis
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.protocols.jobs.http import router
from app.service.admission import Admission
from app.service.auth import KeyRing
from app.service.jobs.files import incoming
from app.service.jobs.job import Failure, Job, Kept, Lease, Progress
from app.service.jobs.jobs import Jobs
from app.service.jobs.store import JobStore
from app.service.lifecycle import Lifecycle
from app.service.resumable.store import UploadStore
from app.settings import Settings

PATH = "/v1/jobs"
MAX_BYTES = 1024 * 1024
MOST_JOBS = 12
PLACES = 3
_Made = TypeVar("_Made")
PATIENCE = 120.0
"""Seconds: more than anything takes on a busy machine."""
MODELS = ("able", "group/plain")


class JobsService(FakeService):
    """Its partial transcripts say what was kept, piece by piece."""

    async def read_kept(self, made: Callable[[], _Made]) -> _Made:
        return made()

    async def partial(self, kept: Kept, model: str, options: RecognitionOptions) -> Transcript:
        said = [hypothesis.text for _, hypothesis in sorted(kept.heard.items())]
        whole = TRANSCRIPTS["zh"]
        segments = tuple(replace(whole.segments[0], text=text, words=()) for text in said)
        return replace(whole, text="".join(said), segments=segments, model=model, warnings=("partial",))


@dataclass
class Room:
    """A server with jobs, and what a runner does to them."""

    base: str
    service: JobsService
    temp: Path
    store: JobStore
    handing_over: Admission
    lifecycle: Lifecycle

    @property
    def incoming(self) -> Path:
        """Where recordings in forms arrive."""
        return incoming(self.service.settings.jobs_folder)

    def client(self, key: str = KEY) -> httpx.Client:
        return httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE)

    def job(self, job_id: str) -> Job:
        """It, with all that was asked."""
        job = asyncio.run(self.store.get(None, job_id))
        request, _ = asyncio.run(self.store.known(job.owner, job_id)).decode()
        return replace(job, request=request)

    def jobs(self, key: str = KEY) -> list[Job]:
        return list(asyncio.run(self.store.list(owner_of(key))))

    def content(self, job_id: str) -> bytes | None:
        """The bytes of its recording, as they are kept."""
        path = asyncio.run(self.store.recording(job_id))
        return path.read_bytes() if path.exists() else None

    def lease(self) -> Lease:
        lease = asyncio.run(self.store.lease("test", MODELS))
        assert lease is not None
        return lease

    def keep(self, lease: Lease, number: int, text: str, progress: Progress) -> None:
        assert asyncio.run(self.store.keep(lease, 0, number, Hypothesis(text, "zh", {"zh": 1.0}), progress))

    def succeed(self, lease: Lease, transcript: Transcript) -> None:
        assert asyncio.run(self.store.succeed(lease, transcript))

    def fail(self, lease: Lease, failure: Failure) -> None:
        assert asyncio.run(self.store.fail(lease, failure))

    def clear(self) -> None:
        """Nobody has a job."""
        for key in (KEY, OTHER_KEY):
            for job in self.jobs(key):
                asyncio.run(self.store.delete(job.owner, job.id))


@contextlib.contextmanager
def jobs_served(temp: Path, **settings: object) -> Iterator[Room]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    bounds = {"max_job_audio_size": f"{MAX_BYTES}B", "max_jobs": MOST_JOBS}
    given = Settings(_env_file=None, **({"temp_dir": temp, "data_dir": data} | bounds | settings))
    service = JobsService(given)
    service._handing_over = Admission(max_requests=PLACES, max_wait=1e9, timeout=60)
    store = JobStore(given.jobs_url, given.jobs_folder, lease_seconds=600, max_jobs=given.max_jobs)
    service.jobs = Jobs(service, given, store=store)
    service.uploads = UploadStore(given.jobs_folder / "uploads", max_bytes=MAX_BYTES, retention_seconds=60)
    app = build(service, (KEY, OTHER_KEY))
    app.include_router(router)
    app.state.lifecycle = Lifecycle()
    try:
        with served(app) as port:
            address = f"http://127.0.0.1:{port}"
            yield Room(address, service, temp, store, service._handing_over, app.state.lifecycle)
    finally:
        service._fetcher.close()
        asyncio.run(service.jobs.close())
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())


def ask(
    client: httpx.Client, content: bytes | None = b"zh", *, headers: dict[str, str] | None = None, **fields: object
) -> httpx.Response:
    """A job handed over as a form; None: without a file."""
    parts: list[tuple[str, tuple[str | None, bytes | str]]] = []
    for name, value in fields.items():
        said = [json.dumps(value)] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        parts += [(name, (None, str(one).lower() if isinstance(one, bool) else str(one))) for one in said]
    if content is not None:
        parts.append(("file", ("会议 1.wav", content)))
    return client.post(PATH, files=parts, headers=headers)


def made(answer: httpx.Response) -> str:
    """The id of the job that was answered."""
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def refused(answer: httpx.Response, status: int, code: str, param: str | None) -> str:
    """The message of an error in OpenAI's envelope."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text
    return str(error["message"])


def owner_of(key: str) -> str:
    """Whose jobs a key's are."""
    return KeyRing((KEY, OTHER_KEY)).owner([(b"authorization", f"Bearer {key}".encode())])


def uploaded(room: Room, content: bytes, metadata: str = "", *, owner: str | None = None, length: int = 0) -> str:
    """The id of a resumable upload with this content; one of more bytes than that is not finished."""

    async def work() -> str:
        who = owner_of(KEY) if owner is None else owner
        upload = await room.service.uploads.create(who, length or len(content), metadata)
        async with room.service.uploads.writing(who, upload.id) as writing:
            await writing.append(content)
        return upload.id

    return asyncio.run(work())


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
