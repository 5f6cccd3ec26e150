"""DashScope's file transcription (百炼): tasks by another interface, whose transcripts have addresses of their own."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final, cast

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathField
from starlette.responses import JSONResponse, Response

from app.domain.errors import InvalidParameter, UnknownJob
from app.protocols.aliyun.filetrans.dashscope import schema
from app.protocols.aliyun.filetrans.dashscope.errors import RESULT, SUBMIT, TASKS, NotAsynchronous, NotPending
from app.protocols.aliyun.filetrans.dashscope.parameters import job_request
from app.protocols.aliyun.filetrans.dashscope.wire import (
    STATUSES,
    UNKNOWN,
    is_secret,
    is_task,
    task_output,
    transcription,
)
from app.protocols.body import receive_json
from app.protocols.callers import Key, caller
from app.protocols.errors import request_id
from app.service.jobs.job import ENDED, Job
from app.service.service import SpeechService

_MOST_BYTES: Final = 1024 * 1024
_MOST_VALUES: Final = 20_000
_ASYNC: Final = "X-DashScope-Async"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What a job's id looks like; nothing else is worth asking a database about."""
TaskId = Annotated[str, PathField(alias="id", description="A task's id.")]

router = APIRouter(tags=["Alibaba"])


@router.post(
    SUBMIT,
    summary="Transcribe a recording in the background (DashScope)",
    openapi_extra=schema.submit_request(),
    responses=schema.responses(schema.SUBMITTED, 400, 404, 413, 429),
    response_class=Response,
)
async def submit(request: Request, _key: Key) -> Response:
    """Hand over the recording at an address. Its text is asked for by the task's id."""
    if request.headers.get(_ASYNC, "").strip().lower() != "enable":
        raise NotAsynchronous(f"Recordings are transcribed in the background here: send {_ASYNC}: enable.")
    service, who = _service(request), caller(request)
    with service.admit_job(who):
        body = await receive_json(
            request, max_bytes=_MOST_BYTES, max_values=_MOST_VALUES, folder=service.settings.temp_dir
        )
        if not isinstance(body, dict):
            raise InvalidParameter("The body must be a JSON object.")
        wanted = await job_request(cast("dict[str, object]", body), service, who.key, request_id(request))
        job = (await service.jobs.submit(who, wanted, None)).job
    output = {"task_id": job.id, "task_status": STATUSES[job.state]}
    return _answer(request, {"output": output})


@router.get(
    f"{TASKS}/{{id}}",
    summary="How is a task? (DashScope)",
    responses=schema.responses(schema.DONE),
    response_class=Response,
)
async def fetch(request: Request, task_id: TaskId, _key: Key) -> Response:
    """Its status; where it has succeeded, `transcription_url` is where its text lies."""
    try:
        job = await _task(request, task_id)
    except UnknownJob:
        return _answer(request, {"output": {"task_id": task_id[:100], "task_status": UNKNOWN}})
    secret = str(job.request.drawing.get("secret", ""))
    there = request.url.replace(path=RESULT, query="", fragment="")
    url = there.include_query_params(task=job.id, secret=secret)
    body: dict[str, object] = {"output": task_output(job, str(url))}
    if job.state == "succeeded":
        body["usage"] = {"duration": round(job.progress.duration or 0.0)}
    return _answer(request, body)


@router.post(
    f"{TASKS}/{{id}}/cancel",
    summary="Call a task off (DashScope)",
    responses=schema.responses(schema.CANCELLED, 400, 404),
    response_class=Response,
)
async def cancel(request: Request, task_id: TaskId, _key: Key) -> Response:
    """Whether it waits or is worked on."""
    job = await _task(request, task_id)
    if job.state in ENDED:
        raise NotPending("Failed to cancel the task: it has ended.")
    await _service(request).jobs.cancel(job.owner, job.id)
    return _answer(request, {})


@router.get(RESULT, include_in_schema=False)
async def result(request: Request, task: Annotated[str, Query()], secret: Annotated[str, Query()]) -> Response:
    """A task's transcript, for who has the address that GET /api/v1/tasks/{id} gave: clients fetch it without a key."""
    service = _service(request)
    job = await _known(service, None, task)
    if not is_secret(job, secret):
        raise _unknown()
    async with service.jobs.reading(job):
        transcript = await service.jobs.transcript(job.owner, job.id)
        content = await service.drawing(lambda: json.dumps(transcription(job, transcript), ensure_ascii=False))
    headers = {"cache-control": "no-store", "x-asr-model": transcript.model}
    return Response(content, media_type="application/json", headers=headers)


async def _task(request: Request, task_id: str) -> Job:
    return await _known(_service(request), caller(request).key, task_id)


async def _known(service: SpeechService, owner: str | None, task_id: str) -> Job:
    job = await service.jobs.get(owner, task_id) if _ID.fullmatch(task_id) else None
    if job is None or not is_task(job):
        raise _unknown()
    return job


def _unknown() -> UnknownJob:
    return UnknownJob("There is no such task.")


def _answer(request: Request, body: dict[str, object]) -> Response:
    return JSONResponse({"request_id": request_id(request), **body})


def _service(request: Request) -> SpeechService:
    return request.app.state.service
