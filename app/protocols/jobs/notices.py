"""What a job's owner is sent at its webhook: that it has come to a state, and, where that was asked for, its result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from app.domain.transcript import Transcript
from app.protocols.jobs.drawing import asked_format, drawn_result, tells_result
from app.protocols.jobs.wire import job_body
from app.protocols.openai.drawing import JSON
from app.service.jobs.job import Job, Notice, Progress, State
from app.service.jobs.messages import Message


async def draw(notice: Notice, read: Callable[[], Awaitable[Transcript | None]]) -> Message:
    """A notice as JSON: {"type": "job.succeeded", "timestamp", "data": the job}, and "result" where that is to be told.
    `read` reads the job's transcript."""
    job = _as_of(notice.job, notice.state)
    transcript = await read() if notice.state == "succeeded" and tells_result(job) else None
    body = await asyncio.to_thread(_body, notice, job, transcript)
    return Message(body, JSON)


def _body(notice: Notice, job: Job, transcript: Transcript | None) -> bytes:
    told: dict[str, object] = {
        "type": f"job.{notice.state}",
        "timestamp": datetime.fromtimestamp(notice.created, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "data": job_body(job).model_dump(),
    }
    if transcript is not None:
        text, media_type = drawn_result(transcript, job, asked_format(job))
        told["result"] = json.loads(text) if media_type == JSON else text
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _as_of(job: Job, state: State) -> Job:
    """The job as it was in `state`, as far as that is known: it may have gone on before anybody could be told."""
    if job.state == state:
        return job
    before = replace(job, state=state, ended=None, expires=None, failure=None, waits_for="")
    return replace(before, started=None, attempts=0, progress=Progress()) if state == "queued" else before
