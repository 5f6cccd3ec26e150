"""What keeps jobs and resumable uploads behind the page, in memory: for what no real job can be made to do on time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

ENDED = {"succeeded", "failed", "cancelled"}
SEGMENTS = [
    {"start": 0.5, "end": 1.5, "text": "Hello there.", "speaker": "Speaker1"},
    {"start": 2.0, "end": 3.0, "text": "<b>Hello</b> yourself & all.", "speaker": "Speaker2"},
    {"start": 3661.0, "end": 3663.0, "text": "再见。", "speaker": "Speaker1"},
]


@dataclass
class Upload:
    """Bytes that have arrived of a recording of `length`."""

    name: str
    length: int
    content: bytearray = field(default_factory=bytearray)


@dataclass
class FakeJobs:
    """What it keeps, and what it was asked.

    `key` None: nobody needs one. `refusal`: (status, message) of every submission. `breaks_at`: the line of the upload
    breaks there, once for each of these offsets, and the answer is `breaks_with`. `hold_from`: an upload's bytes from
    there on wait until it is None. `turned_away`: the statuses of the next answers to whoever wants to follow a job.
    `made`: what was said under a key, and the job that came of it. `segments`: what every job's result has. `begun`:
    how many uploads there ever were.
    """

    key: str | None = None
    refusal: tuple[int, str] | None = None
    down: bool = False
    breaks_at: list[int] = field(default_factory=list)
    breaks_with: int = 502
    hold_from: int | None = None
    turned_away: list[int] = field(default_factory=list)
    made: dict[str, tuple[dict[str, list[str]], str]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=lambda: SEGMENTS)
    begun: int = 0
    patched: list[int] = field(default_factory=list)
    streams: int = 0

    def add(self, name: str, state: str = "queued", **progress: Any) -> str:
        """A job; its id."""
        number = len(self.jobs) + 1
        job_id = f"job_{number:024x}"
        self.jobs[job_id] = {
            "id": job_id,
            "object": "job",
            "state": state,
            "created_at": 1_770_000_000 + number,
            "started_at": None,
            "ended_at": None,
            "expires_at": 1_770_600_000 if state in ENDED else None,
            "model": "first-model",
            "name": name,
            "metadata": {},
            "progress": {
                "percent": 0,
                "seconds_done": 0,
                "seconds_total": None,
                "pieces_done": 0,
                "pieces_total": 0,
                "step": None,
                "seconds_left": None,
            }
            | progress,
            "attempts": 0,
            "waits_for": "",
            "error": None,
            "webhook": None,
            "response_format": "verbose_json",
        }
        return job_id

    def set(self, job_id: str, state: str | None = None, error: str | None = None, **progress: Any) -> None:
        """Change it."""
        job = self.jobs[job_id]
        job["progress"] = job["progress"] | progress
        if state is not None:
            job["state"] = state
            if state in ENDED:
                job["expires_at"] = 1_770_600_000
        if error is not None:
            job["error"] = {"code": "invalid_audio", "message": error, "param": None}

    def allows(self, request: Request) -> bool:
        return self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"


@contextlib.contextmanager
def keeping(fake: FakeJobs) -> Iterator[FastAPI]:
    """An application with nothing but these routes."""
    app = FastAPI(title="Fake server", version="0", redirect_slashes=False)
    _add_uploads(app, fake)
    _add_jobs(app, fake)
    _add_one(app, fake)

    @app.get("/v1/vocabularies")
    async def vocabularies() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "vocab_1", "name": "Names", "count": 1, "updated_at": 1}]}

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        if request.url.path.startswith("/v1/jobs"):
            fake.asked.append(f"{request.method} {request.url.path.removeprefix('/v1/jobs')}")
            if fake.down:
                return _error(503, "The database of jobs cannot be used.")
            if not fake.allows(request):
                return _error(401, "A valid API key is needed.")
        answer: Response = await call_next(request)
        return answer

    yield app


def _error(status: int, message: str, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)


def _add_uploads(app: FastAPI, fake: FakeJobs) -> None:
    @app.post("/v1/jobs/uploads")
    async def create(request: Request) -> Response:
        assert request.headers["tus-resumable"] == "1.0.0"
        name, value = request.headers["upload-metadata"].split(" ")
        assert name == "filename"
        fake.begun += 1
        upload_id = f"upload_{fake.begun:024x}"
        length = int(request.headers["upload-length"])
        fake.uploads[upload_id] = Upload(base64.b64decode(value).decode(), length)
        # As behind a proxy that has another name.
        return Response(None, 201, {"location": f"http://elsewhere/v1/jobs/uploads/{upload_id}"})

    @app.head("/v1/jobs/uploads/{upload_id}")
    async def head(upload_id: str) -> Response:
        if (upload := fake.uploads.get(upload_id)) is None:
            return Response(None, 404)
        return Response(None, 200, {"upload-offset": str(len(upload.content)), "upload-length": str(upload.length)})

    @app.patch("/v1/jobs/uploads/{upload_id}")
    async def patch(upload_id: str, request: Request) -> Response:
        if (upload := fake.uploads.get(upload_id)) is None:
            return _error(404, "No such upload.")
        offset = int(request.headers["upload-offset"])
        fake.patched.append(offset)
        if offset != len(upload.content):
            return _error(409, "Not where it is.")
        async for chunk in request.stream():
            upload.content += chunk
            if fake.breaks_at and len(upload.content) >= fake.breaks_at[0]:
                fake.breaks_at.pop(0)
                return _error(fake.breaks_with, "It broke off.")
            while fake.hold_from is not None and len(upload.content) >= fake.hold_from:
                if await request.is_disconnected():
                    return Response(None, 499)
                await asyncio.sleep(0.02)
        return Response(None, 204, {"upload-offset": str(len(upload.content))})

    @app.delete("/v1/jobs/uploads/{upload_id}")
    async def delete(upload_id: str) -> Response:
        fake.uploads.pop(upload_id, None)
        return Response(None, 204)


def _add_jobs(app: FastAPI, fake: FakeJobs) -> None:
    @app.post("/v1/jobs")
    async def submit(request: Request) -> Response:
        async with request.form() as form:
            said = {name: [str(value) for value in form.getlist(name)] for name in form}
        fake.forms.append(said)
        key = request.headers["idempotency-key"]
        fake.keys.append(key)
        if fake.refusal is not None:
            return _error(*fake.refusal)
        if key in fake.made:
            before, job_id = fake.made[key]
            if said != before:
                return _error(422, "The key was used for something else.", "idempotency_conflict")
            return JSONResponse(fake.jobs[job_id])
        if "upload" in said:
            if (upload := fake.uploads.pop(said["upload"][0], None)) is None:
                return _error(404, "No such upload.", "upload_not_found")
            assert len(upload.content) == upload.length
            name = upload.name
        else:
            name = said["audio_address"][0].rpartition("/")[2]
        job_id = fake.add(name)
        fake.made[key] = said, job_id
        return JSONResponse(fake.jobs[job_id], 202, {"location": f"/v1/jobs/{job_id}"})

    @app.get("/v1/jobs")
    async def every(limit: int) -> dict[str, Any]:
        data = list(reversed(fake.jobs.values()))
        return {"object": "list", "data": data[:limit], "has_more": len(data) > limit}


def _add_one(app: FastAPI, fake: FakeJobs) -> None:
    @app.get("/v1/jobs/{job_id}")
    async def one(job_id: str) -> Response:
        found = fake.jobs.get(job_id)
        return JSONResponse(found) if found else _error(404, "No such job.")

    @app.get("/v1/jobs/{job_id}/partial")
    async def partial(job_id: str) -> dict[str, Any]:
        return {"segments": fake.segments[: fake.jobs[job_id]["progress"]["pieces_done"]]}

    @app.get("/v1/jobs/{job_id}/result")
    async def result(job_id: str, response_format: str) -> Response:
        if response_format == "verbose_json":
            return JSONResponse({"segments": fake.segments})
        return PlainTextResponse(f"{response_format} of {fake.jobs[job_id]['name']}\n")

    @app.post("/v1/jobs/{job_id}/cancel")
    async def cancel(job_id: str) -> Response:
        if job_id not in fake.jobs:
            return _error(404, "No such job.")
        fake.set(job_id, "cancelled")
        return JSONResponse(fake.jobs[job_id])

    @app.delete("/v1/jobs/{job_id}")
    async def delete(job_id: str) -> Response:
        if fake.jobs.pop(job_id, None) is None:
            return _error(404, "No such job.")
        return JSONResponse({"id": job_id, "object": "job", "deleted": True})

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request) -> Response:
        if fake.turned_away:
            return _error(fake.turned_away.pop(0), "Not now.")
        if job_id not in fake.jobs:
            return _error(404, "No such job.")
        return StreamingResponse(_told(fake, job_id, request), media_type="text/event-stream")


async def _told(fake: FakeJobs, job_id: str, request: Request) -> AsyncIterator[str]:
    fake.streams += 1
    before, number = "", 0
    yield ": hello\n\n"
    try:
        while job_id in fake.jobs and not await request.is_disconnected():
            now = json.dumps(fake.jobs[job_id], ensure_ascii=False)
            if now != before:
                number += 1
                event = f"id: {number}\nevent: job\ndata: {now}\n\n"
                half = len(event) // 2
                for part in (event[:half], event[half:]):  # as networks cut them
                    yield part
                    await asyncio.sleep(0)
                before = now
            if fake.jobs[job_id]["state"] in ENDED:
                return
            await asyncio.sleep(0.02)
        if job_id in fake.jobs:
            return
        yield 'retry: 86400000\ndata: {"error": {"message": "No such job.", "code": "job_not_found"}}\n\n'
    finally:
        fake.streams -= 1
