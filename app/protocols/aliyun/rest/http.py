"""Alibaba's HTTP routes: a recording in the body, or at an address, and its text as JSON, at once."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.domain.transcript import Transcript
from app.protocols.aliyun.rest import schema
from app.protocols.aliyun.rest.errors import PATH, is_strict
from app.protocols.aliyun.rest.flash import flash_body
from app.protocols.aliyun.rest.listing import HealthBody, ModelsBody, health_body, models_body
from app.protocols.aliyun.rest.parameters import Asked, Route, check_appkey, read_asked, read_query
from app.protocols.aliyun.rest.wire import recognition_body, strict_body, task_id_of
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.labels import numbered
from app.protocols.raw_body import stored_body
from app.service.admission import Ticket
from app.service.service import SpeechService

router = APIRouter(prefix=PATH, tags=["Alibaba"])
_SINGLE_CHANNEL = "single_channel"
"""A warning about what FlashRecognizer's callers do not ask for: one channel is one channel."""
_logger = logging.getLogger(__name__)


@router.post(
    "/asr",
    summary="Transcribe a recording (Alibaba, funasr-api)",
    openapi_extra=schema.asr_request(),
    responses=schema.asr_responses(),
    response_class=Response,
)
async def recognize(request: Request, _key: Key) -> Response:
    """Recognise the recording that is the whole body, whatever its Content-Type, or the one at `audio_address`.

    Answers as funasr-api does; with the header `X-NLS-Strict: 1`, or setting ALIYUN_STRICT, as Alibaba Cloud does.
    Every answer's header `task_id` names the request, as its body does.
    """
    return await _answer(request, "asr")


@router.post(
    "/FlashRecognizer",
    summary="Transcribe a recording (Alibaba's flash recognizer)",
    openapi_extra=schema.flash_request(),
    responses=schema.flash_responses(),
    response_class=Response,
)
async def recognize_flash(request: Request, _key: Key) -> Response:
    """Recognise the recording that is the whole body, or the one at `audio_address`: sentences with their times.

    Recordings of any length that this server takes. The token may be in the address, as `token`.
    """
    return await _answer(request, "flash")


@router.get("/asr/models", summary="List the models (funasr-api)", responses=schema.plain_responses())
async def list_models(request: Request, _key: Key) -> ModelsBody:
    """The models that answer now, the default first."""
    return models_body(_service(request))


@router.get("/asr/health", summary="How is it? (funasr-api)", responses=schema.plain_responses())
async def show_health(request: Request, _key: Key) -> HealthBody:
    """Always 200 to those with a key. Nothing is loaded for it."""
    return health_body(_service(request), request.app.version)


async def _answer(request: Request, route: Route) -> Response:
    began = time.monotonic()
    service = _service(request)
    name = request_id(request)
    task_id = task_id_of(name)
    if task_id != name:
        _logger.info("request %s is task %s", name, task_id)
    strict = is_strict(request.scope, service.settings)
    async with AsyncExitStack() as stack:
        # All that the address says is looked at before the body is read: who asks for what cannot be, knows at once.
        ticket = stack.enter_context(service.admit(caller(request)))
        query = read_query(request, route, name)
        check_appkey(query, service.settings)
        shown = route == "flash" or not strict
        kind = request.headers.get("content-type")
        asked = await read_asked(query, route, kind, service, ticket.key, shown=shown)
        transcript = await _transcript(request, service, ticket, asked)
        seconds = time.monotonic() - began

        def draw() -> str:
            if route == "flash":
                return _json(_flash(task_id, transcript, asked, seconds))
            if strict:
                return _json(strict_body(task_id, transcript))
            return _json(_recognition(task_id, transcript, asked, seconds, service))

        content = await ticket.in_time(service.drawing(draw))
    headers = {"task_id": task_id, "x-asr-model": asked.model.id}
    return Response(content, media_type="application/json", headers=headers)


async def _transcript(request: Request, service: SpeechService, ticket: Ticket, asked: Asked) -> Transcript:
    model, options = asked.model.id, asked.options
    if asked.address is None:
        async with AsyncExitStack() as stack:
            stored = stored_body(request, service.settings, param="body")
            path = await ticket.in_time(stack.enter_async_context(stored))
            ticket.begin()
            work = service.transcribe(path, model, options, ticket, asked.declared)
            return await while_connected(request.receive, work)

    async def fetched(address: str) -> Transcript:
        async with service.fetched(address, ticket, param="audio_address") as path:
            return await service.transcribe(path, model, options, ticket, asked.declared)

    async for _ in request.stream():  # a body beside an address is not listened to
        pass
    ticket.begin()
    return await while_connected(request.receive, fetched(asked.address))


def _recognition(
    task_id: str, transcript: Transcript, asked: Asked, seconds: float, service: SpeechService
) -> BaseModel:
    label = numbered(service.settings.speaker_labels or "en")
    warnings = (*transcript.warnings, *asked.warnings)
    return recognition_body(task_id, transcript, label, words=asked.words, seconds=seconds, warnings=warnings)


def _flash(task_id: str, transcript: Transcript, asked: Asked, seconds: float) -> BaseModel:
    told = tuple(warning for warning in transcript.warnings if warning != _SINGLE_CHANNEL)
    return flash_body(
        task_id,
        transcript,
        words=asked.words,
        longest=asked.sentence_characters,
        first_channel=asked.first_channel,
        seconds=seconds,
        warnings=(*told, *asked.warnings),
    )


def _json(body: BaseModel) -> str:
    return body.model_dump_json(exclude_none=True)


def _service(request: Request) -> SpeechService:
    return request.app.state.service
