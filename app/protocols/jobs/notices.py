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
    if state == "queued":  # it may be so again, after somebody has worked on it
        return replace(_begun(job), state=state, started=None, attempts=0)
    return job if job.state == state else replace(_begun(job), state=state)


def _begun(job: Job) -> Job:
    """The job when it was first taken up."""
    return replace(job, ended=None, expires=None, attempts=1, progress=Progress(), failure=None, waits_for="")
