"""A job from its request to the store: read, checked against the model that is to answer, and handed over."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from fastapi import Request

from app.audio.storing import not_stored
from app.domain.errors import UnknownUpload
from app.domain.options import RecognitionOptions
from app.protocols.callers import caller
from app.protocols.connected import while_connected
from app.protocols.described import Described, described
from app.protocols.errors import request_id
from app.protocols.forms import Form
from app.protocols.jobs.drawing import drawing_of
from app.protocols.jobs.fields import JOB_FIELDS, UPLOAD, Extras, read_extras
from app.protocols.jobs.receiving import received_job
from app.protocols.jobs.repeating import idempotency
from app.protocols.jobs.source import Elsewhere, Sent, Source, Uploaded, read_source
from app.protocols.openai.asking import asked_options, at_fault
from app.protocols.openai.wishes import Wishes, read_wishes
from app.service.admission import Caller
from app.service.jobs.files import incoming
from app.service.jobs.job import Idempotency, Job, JobRequest
from app.service.residents import ServedModel
from app.service.resumable.upload import UploadBusy
from app.service.service import SpeechService
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the form says."""

    source: Source
    model: ServedModel
    extras: Extras
    wishes: Wishes
    idempotency: Idempotency | None = None


async def submitted(request: Request, service: SpeechService) -> tuple[Job, bool]:
    """The job that a request hands over; True: it was handed over before.

    Raises:
        SpeechError: something of it cannot be had, or not now.
    """
    who = caller(request)
    async with AsyncExitStack() as stack:
        # Before the body is read: who cannot hand anything over shall know at once.
        ticket = stack.enter_context(service.admit_job(who))
        folder = await asyncio.to_thread(incoming, service.settings.jobs_folder)
        form = stack.enter_context(await ticket.in_time(received_job(request, folder)))
        form.log_unknown(JOB_FIELDS, request_id(request))
        ticket.begin()
        model = service.resolve(form.text("model"))
        reading = _read(service, form, request.headers.get("idempotency-key"), model)
        asked = await while_connected(request.receive, ticket.in_time(reading))
        options = await while_connected(request.receive, asked_options(service, model, asked.wishes, ticket))
        return await _handed_over(service, who, asked, options)


async def _read(service: SpeechService, form: Form, header: str | None, model: ServedModel) -> _Asked:
    # In a thread: ten thousand hotwords take a while to read.
    asked = await asyncio.to_thread(_said, form, header, model, service.settings)
    source, key = asked.source, asked.extras.idempotency_key
    if key is None:
        return asked
    digest = partial(idempotency, form, source, key)
    try:  # a recording's takes long, and answers to others are drawn in asyncio's threads
        found = await (service.jobs.aside(digest) if isinstance(source, Sent) else asyncio.to_thread(digest))
    except OSError as error:
        raise not_stored(error, setting="JOBS_DIR") from error
    return replace(asked, idempotency=found)


def _said(form: Form, header: str | None, model: ServedModel, settings: Settings) -> _Asked:
    source = read_source(form, settings.max_job_audio_size)
    extras = read_extras(form, header, settings)
    return _Asked(source, model, extras, read_wishes(form, extras.task, model, settings, any_format=True))


async def _handed_over(
    service: SpeechService, who: Caller, asked: _Asked, options: RecognitionOptions
) -> tuple[Job, bool]:
    """Not ended by its client's leaving: what is stored is stored."""
    source = asked.source
    if isinstance(source, Uploaded):
        return await _of_upload(service, who, asked, options, source)
    wanted = _request(asked, options, service.settings)
    path = source.path if isinstance(source, Sent) else None
    made = await service.jobs.submit(who, wanted, path, asked.idempotency)
    return made.job, made.again


async def _of_upload(
    service: SpeechService, who: Caller, asked: _Asked, options: RecognitionOptions, source: Uploaded
) -> tuple[Job, bool]:
    """Of an upload that has become a job nothing is left to be taken, so that its key is looked for first; and again
    where somebody else is at the upload, or was: the same may have been sent twice at once."""
    job, tried = await _earlier(service, who, asked), False
    while job is None:
        try:
            async with service.uploads.take(who.key, source.said) as path:
                upload = await service.uploads.find(who.key, source.said)
                with at_fault(UPLOAD):
                    about = described(upload.metadata)
                wanted = _request(asked, options, service.settings, about)
                made = await service.jobs.submit(who, wanted, path, asked.idempotency)
            return made.job, made.again
        except (UnknownUpload, UploadBusy) as error:
            job = await _earlier(service, who, asked)
            if job is None and (tried or asked.idempotency is None or isinstance(error, UnknownUpload)):
                raise
            tried = True
    return job, True


async def _earlier(service: SpeechService, who: Caller, asked: _Asked) -> Job | None:
    """The job that was made before under the same key."""
    return None if asked.idempotency is None else await service.jobs.submitted(who.key, asked.idempotency)


def _request(
    asked: _Asked, options: RecognitionOptions, settings: Settings, about: Described | None = None
) -> JobRequest:
    """What is asked for; `about` is what an upload's client said of its file."""
    source, extras = asked.source, asked.extras
    found = about or (Described() if isinstance(source, Uploaded) else source)
    language = settings.speaker_labels or "en"
    return JobRequest(
        model=asked.model.id,
        options=options,
        name=extras.name or found.name,
        address=source.address if isinstance(source, Elsewhere) else None,
        declared=None if isinstance(found, Elsewhere) else found.declared,
        drawing=drawing_of(asked.wishes, options, language, telling_result=extras.telling_result),
        webhook=extras.webhook,
        metadata=extras.metadata or {},
        priority=extras.priority,
    )
