"""The shapes of answers about jobs, in the manner of OpenAI's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, Field

from app.service.jobs.job import ENDED, Job, State, Step

_MOST_UNFINISHED: Final = 99.9
"""Percent. What is left when all pieces are recognised takes a moment; 100 is for what is done."""


class ProgressBody(BaseModel):
    """How far a job is."""

    percent: float = Field(description="Of the work, 0 to 100; 100 once it has succeeded.")
    seconds_done: float = Field(description="Seconds of the recording that are recognised and kept.")
    seconds_total: float | None = Field(description="How long the recording is; null until it is decoded.")
    pieces_done: int
    pieces_total: int = Field(description="0 until its speech is found.")
    step: Step | None = Field(description="What a server is at; null while none works on it.")
    seconds_left: float | None = Field(description="How long it will take from now; null where that cannot be told.")


class JobErrorBody(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class JobBody(BaseModel):
    """A job. Times are in epoch seconds."""

    id: str
    object: Literal["job"] = "job"
    state: State
    created_at: int
    started_at: int | None
    ended_at: int | None
    expires_at: int | None = Field(description="When it is deleted with its result; null while it has not ended.")
    model: str
    name: str = Field(description="What the recording is called.")
    metadata: dict[str, str]
    progress: ProgressBody
    attempts: int = Field(description="How often a server took it up.")
    waits_for: str = Field(description='What it waits for and does not have; "" where all is well.')
    error: JobErrorBody | None
    webhook: str | None = Field(description="Where its owner is told of it.")
    response_format: str


class JobList(BaseModel):
    """GET /v1/jobs."""

    object: Literal["list"] = "list"
    data: list[JobBody]
    has_more: bool
    first_id: str | None
    last_id: str | None = Field(description="What to send as `after` for the next ones.")


class DeletedJobBody(BaseModel):
    """DELETE /v1/jobs/{id}."""

    id: str
    object: Literal["job"] = "job"
    deleted: Literal[True] = True


def job_body(job: Job) -> JobBody:
    """A job as it goes on the wire."""
    request, failure = job.request, job.failure
    return JobBody(
        id=job.id,
        state=job.state,
        created_at=int(job.created),
        started_at=_second(job.started),
        ended_at=_second(job.ended),
        expires_at=_second(job.expires),
        model=request.model,
        name=request.name,
        metadata=dict(request.metadata),
        progress=_progress(job),
        attempts=job.attempts,
        waits_for=job.waits_for,
        error=JobErrorBody(code=failure.code, message=failure.message, param=failure.param) if failure else None,
        webhook=request.webhook.url if request.webhook else None,
        response_format=str(request.drawing.get("response_format", "json")),
    )


def job_list(jobs: Sequence[Job], *, more: bool) -> JobList:
    """Jobs as a list; `more`: there are older ones."""
    data = [job_body(job) for job in jobs]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return JobList(data=data, has_more=more, first_id=first, last_id=last)


def _progress(job: Job) -> ProgressBody:
    progress, succeeded, ended = job.progress, job.state == "succeeded", job.state in ENDED
    left = None if progress.left is None else round(progress.left, 1)
    return ProgressBody(
        percent=100.0 if succeeded else min(_MOST_UNFINISHED, round(100 * progress.share, 1)),
        seconds_done=round(progress.duration or progress.done if succeeded else progress.done, 3),
        seconds_total=None if progress.duration is None else round(progress.duration, 3),
        pieces_done=progress.pieces if succeeded else progress.pieces_done,
        pieces_total=progress.pieces,
        step=None if ended else progress.step,
        seconds_left=None if ended else left,
    )


def _second(at: float | None) -> int | None:
    return None if at is None else int(at)
