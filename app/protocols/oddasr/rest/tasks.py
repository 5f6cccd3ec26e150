"""OddASR's recognition in the background: a recording handed over, asked for by its task_id, called off, forgotten."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import InvalidParameter, JobNotDone, UnknownJob, UploadTooLarge
from app.protocols.body import is_json
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.described import described, shown_name
from app.protocols.errors import request_id
from app.protocols.forms import Form, bounded, receive_form
from app.protocols.labels import Label
from app.protocols.oddasr.narration import odd_label
from app.protocols.oddasr.rest import task_schema as schema
from app.protocols.oddasr.rest.task_wire import CANCELLED, Json, ok, result_data, status_data
from app.protocols.oddasr.rest.wishes import AUDIO, FIELDS, audio_field, read_wishes
from app.protocols.payload import Payload
from app.service.jobs.files import incoming
from app.service.jobs.job import Job, JobRequest
from app.service.jobs.store import Submitted
from app.service.service import SpeechService

PATH: Final = "/v1/asr/task"
"""Recordings that are sent here may be as large as those of jobs."""
FACE: Final = "oddasr"
UPLOAD, PRIORITY, TASK_ID = "upload", "priority", "task_id"
TASK_FIELDS: Final = FIELDS | {UPLOAD, PRIORITY}
MOST_PRIORITY: Final = 10
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What a job's id looks like; nothing else is worth asking a database about."""
_MOST_BYTES: Final = 4096
"""Of a body that has a task_id."""

router = APIRouter(prefix=PATH, tags=["OddASR"])


@dataclass(frozen=True, slots=True)
class _Sent:
    """A recording in the form, or in the resumable upload that `upload` names."""

    path: Path | None
    upload: str
    declared: DeclaredSound | None = None
    name: str = ""


@router.post(
    "/create",
    summary="Hand over a recording (OddASR)",
    openapi_extra=schema.create_request(),
    responses=schema.created(),
    response_class=Response,
)
async def create_task(request: Request, _key: Key) -> Response:
    """Have a recording recognised in the server's own time. The form is that of `/v1/asr`, and its fields are checked
    at once."""
    service, who = _service(request), caller(request)
    async with AsyncExitStack() as stack:
        # Before the body is read: who cannot hand anything over shall know at once.
        ticket = stack.enter_context(service.admit_job(who))
        folder = await asyncio.to_thread(incoming, service.settings.jobs_folder)
        receiving = receive_form(request, folder, setting="JOBS_DIR")
        form = stack.enter_context(await ticket.in_time(receiving))
        form.log_unknown(TASK_FIELDS, request_id(request))
        ticket.begin()
        model = service.resolve(form.text("model"))
        sent = _sent(form, service.settings.max_job_audio_size)
        priority = _priority(form)
        wishes = await while_connected(request.receive, read_wishes(form, model, service, who.key))
        if sent.path is None:
            sent = await stack.enter_async_context(_uploaded(service, who.key, sent.upload))
        wanted = JobRequest(
            model.id,
            replace(wishes.options, timed=True),  # every sentence has its times, whatever the layout
            name=sent.name,
            declared=sent.declared,
            face=FACE,
            drawing={"layout": wishes.layout},
            priority=priority,
        )
        submitted: Submitted = await service.jobs.submit(who, wanted, sent.path)
    return JSONResponse(ok({TASK_ID: submitted.job.id}), headers={"x-asr-model": model.id})


@router.post(
    "/status",
    summary="How is a task? (OddASR)",
    openapi_extra=schema.named_request(),
    responses=schema.status_responses(),
    response_class=Response,
)
async def task_status(request: Request, _key: Key) -> Response:
    """`status` is 0 while it waits, 1 while it is worked on, 2 where it is done, 3 where it came to nothing.

    `texts` are its sentences where it is done."""
    service, job = _service(request), await _task(request)
    done = job.state == "succeeded"
    async with service.jobs.reading(job) if done else nullcontext():
        transcript = await service.jobs.transcript(job.owner, job.id) if done else None
        return await _answer(service, job, lambda label: status_data(job, transcript, label))


@router.post(
    "/result",
    summary="What came of a task (OddASR)",
    openapi_extra=schema.named_request(),
    responses=schema.result_responses(),
    response_class=Response,
)
async def task_result(request: Request, _key: Key) -> Response:
    """Its sentences, and all of it in the layout it was asked for in. 409 while it is not done, and where it came to
    nothing: `error_desc` says which."""
    service, job = _service(request), await _task(request)
    if job.state == "cancelled":
        raise JobNotDone(CANCELLED)
    async with service.jobs.reading(job):
        transcript = await service.jobs.transcript(job.owner, job.id)
        return await _answer(service, job, lambda label: result_data(job, transcript, label))


@router.post(
    "/cancel",
    summary="Call a task off (OddASR)",
    openapi_extra=schema.named_request(),
    responses=schema.done(),
    response_class=Response,
)
async def cancel_task(request: Request, _key: Key) -> Response:
    """Whether it waits or is worked on. One that has ended stays as it is."""
    job = await _task(request)
    await _service(request).jobs.cancel(job.owner, job.id)
    return JSONResponse(ok({TASK_ID: job.id}))


@router.post(
    "/delete",
    summary="Forget a task (OddASR)",
    openapi_extra=schema.named_request(),
    responses=schema.done(),
    response_class=Response,
)
async def delete_task(request: Request, _key: Key) -> Response:
    """With its recording and its text. One that has not ended is called off by this."""
    job = await _task(request)
    await _service(request).jobs.delete(job.owner, job.id)
    return JSONResponse(ok({TASK_ID: job.id}))


def _sent(form: Form, max_bytes: int) -> _Sent:
    """The recording.

    Raises:
        InvalidParameter, EmptyAudio, UploadTooLarge: there is none, or two, or it cannot be taken.
        UndecodableAudio: it is declared to be raw sound, and not how.
    """
    upload = form.text(UPLOAD)
    if upload is not None:
        if any(form.has(name) for name in AUDIO):
            raise InvalidParameter("Send one recording: file or upload, not both.", param=UPLOAD)
        return _Sent(None, upload.strip())
    audio = audio_field(form)
    try:
        path = form.file(audio, max_bytes)
    except UploadTooLarge:
        told = f"The recording is larger than this server takes ({max_bytes} bytes, MAX_JOB_AUDIO_SIZE)."
        raise UploadTooLarge(told, param=audio) from None
    return _Sent(path, "", declared_sound(form.media_type(audio)), shown_name(form.filename(audio)))


@asynccontextmanager
async def _uploaded(service: SpeechService, owner: str, said: str) -> AsyncGenerator[_Sent]:
    """The recording in a finished upload, as its client described it; nobody else can take it meanwhile.

    Raises:
        UnknownUpload, UploadConflict: there is none of that name, or it cannot be taken now.
        UndecodableAudio: it is declared to be raw sound, and not how.
    """
    async with service.uploads.take(owner, said) as path:
        about = described((await service.uploads.find(owner, said)).metadata)
        yield _Sent(path, said, about.declared, about.name)


def _priority(form: Form) -> int:
    said = form.text(PRIORITY)
    number = 0.0 if said is None else bounded(said.strip(), PRIORITY, -MOST_PRIORITY, MOST_PRIORITY)
    if number != int(number):
        raise InvalidParameter(f"{PRIORITY} must be a whole number.", param=PRIORITY)
    return int(number)


async def _task(request: Request) -> Job:
    """The caller's task that a request names, by its task_id: in JSON, in a form, or in the address.

    Raises:
        InvalidParameter: it names none.
        UnknownJob: there is none of this id.
    """
    said = (request.query_params.get(TASK_ID) or await _named(request)).strip()
    if not said:
        raise InvalidParameter(f"{TASK_ID} is required.", param=TASK_ID)
    owner = caller(request).key
    job = await _service(request).jobs.get(owner, said) if _ID.fullmatch(said) else None
    if job is None or job.request.face != FACE:
        raise UnknownJob("There is no such task.", param=TASK_ID)
    return job


async def _named(request: Request) -> str:
    if not is_json(request):
        return await _named_in_form(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise UploadTooLarge(f"The body has more than {_MOST_BYTES} bytes.")
    try:
        said: object = json.loads(body)
    except (ValueError, RecursionError):  # without a cause: it would repeat what was sent in the log
        said = None
    if not isinstance(said, dict):
        raise InvalidParameter("The body must be a JSON object.")
    return Payload(cast("Json", said)).text(TASK_ID) or ""


async def _named_in_form(request: Request) -> str:
    """Of either kind; nothing else is stored of it."""
    async with request.form(max_files=0, max_fields=10, max_part_size=_MOST_BYTES) as form:
        said = form.get(TASK_ID)
    return said if isinstance(said, str) else ""


async def _answer(service: SpeechService, job: Job, draw: Callable[[Label], Json]) -> Response:
    """What `draw` makes of a task, with what speakers are called."""
    label = odd_label(service.settings.speaker_labels or "zh")
    content = await service.drawing(lambda: json.dumps(ok(draw(label)), ensure_ascii=False))
    return Response(content, media_type="application/json", headers={"x-asr-model": job.request.model})


def _service(request: Request) -> SpeechService:
    return request.app.state.service
