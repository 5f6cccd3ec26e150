"""Alibaba's file transcription: a recording at an address as a task, asked for again until it is done, or called back.

Clients know a host and no path, so that these routes share `/` with the page: what names an Action is theirs.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import nullcontext
from typing import Final

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from app.domain.errors import RequestError, UnknownJob
from app.protocols.aliyun.filetrans import schema
from app.protocols.aliyun.filetrans.calls import Call, read_call
from app.protocols.aliyun.filetrans.dashscope import http as dashscope
from app.protocols.aliyun.filetrans.dashscope.wire import is_task
from app.protocols.aliyun.filetrans.drawing import answer
from app.protocols.aliyun.filetrans.errors import PATH, ROOT, UnknownAction, WrongMethod
from app.protocols.aliyun.filetrans.parameters import job_request, read_task
from app.protocols.aliyun.filetrans.statuses import FileStatus, refused
from app.protocols.aliyun.filetrans.wire import request_id_of, status_answer
from app.service.jobs.job import Job
from app.service.service import SpeechService

FACE: Final = "aliyun"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What a job's id looks like; nothing else is worth asking a database about."""
_logger = logging.getLogger(__name__)


class _ActionRoute(APIRoute):
    """A route for what is not at `/`, names an Action, or is a POST and may do so in its form; all else goes on to the
    next route."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """How well the request fits."""
        if scope["type"] != "http" or not _is_call(scope):
            return Match.NONE, {}
        return super().matches(scope)


def _is_call(scope: Scope) -> bool:
    named = "x-acs-action" in Headers(scope=scope) or "Action" in QueryParams(scope.get("query_string", b""))
    return named or scope["method"] == "POST" or scope["path"] != ROOT


router = APIRouter(tags=["Alibaba"], route_class=_ActionRoute)
router.include_router(dashscope.router)


@router.post(
    PATH,
    summary="Transcribe a recording in the background (Alibaba)",
    openapi_extra=schema.submit_request(),
    responses=schema.responses(),
    response_class=Response,
)
@router.get(
    PATH,
    summary="Ask for a transcript (Alibaba)",
    openapi_extra=schema.poll_request(),
    responses=schema.responses(),
    response_class=Response,
)
@router.post(ROOT, include_in_schema=False)
@router.get(ROOT, include_in_schema=False)
async def call(request: Request) -> Response:
    """Alibaba Cloud's file transcription (nls-filetrans) as its SDKs call it: SubmitTask hands over a task, and
    GetTaskResult tells how it is. Also at `/`, which is all that SDKs know.

    `AccessKeyId` is an API key; the signature is not looked at.
    """
    asked = await read_call(request)
    match asked.action:
        case "SubmitTask":
            if request.method != "POST":
                raise WrongMethod("SubmitTask is a POST.")
            return await _submit(request, asked)
        case "GetTaskResult":
            return await _result(request, asked)
        case _:
            raise UnknownAction("Specified api is not found: there are SubmitTask and GetTaskResult.")


async def _submit(request: Request, asked: Call) -> Response:
    service, request_id = _service(request), request_id_of(request.scope)
    said = asked.needed("Task")
    try:
        with service.admit_job(asked.caller):
            # In a thread: a list of hotwords may be long.
            task = await asyncio.to_thread(read_task, said, asked.caller.request_id)
            wanted = await job_request(task, service, asked.caller.key)
            submitted = await service.jobs.submit(asked.caller, wanted, None)
    except RequestError as error:
        if (status := refused(error)) is None:
            raise
        told = "(what was said carries a name)" if error.private else error.message
        _logger.info("request %s: %s: %s", asked.caller.request_id, error.code, told)
        return status_answer("", request_id, status, error.message)
    return status_answer(submitted.job.id, request_id, FileStatus.SUCCESS)


async def _result(request: Request, asked: Call) -> Response:
    service, request_id = _service(request), request_id_of(request.scope)
    task_id = asked.needed("TaskId")
    try:
        job = await _task(service, asked.caller.key, task_id)
        done = job.state == "succeeded"
        async with service.jobs.reading(job) if done else nullcontext():
            transcript = await service.jobs.transcript(asked.caller.key, job.id) if done else None
            content = await service.drawing(answer, job, transcript, request_id)
    except RequestError as error:
        if (status := refused(error)) is None:
            raise
        return status_answer(task_id[:64], request_id, status, error.message)
    return Response(content, media_type="application/json", headers={"x-asr-model": job.request.model})


async def _task(service: SpeechService, owner: str, task_id: str) -> Job:
    """The job that a task is; those that were asked for in other protocols, DashScope's among them, are none.

    Raises:
        UnknownJob: the owner has none of this id.
    """
    job = await service.jobs.get(owner, task_id) if _ID.fullmatch(task_id) else None
    if job is None or job.request.face != FACE or is_task(job):
        raise UnknownJob("There is no such task.")
    return job


def _service(request: Request) -> SpeechService:
    return request.app.state.service
