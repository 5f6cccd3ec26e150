"""A job from its request to the store: read, checked against the model that is to answer, and handed over."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import Request

from app.audio.storing import not_stored
from app.domain.options import RecognitionOptions
from app.protocols.callers import caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.forms import Form
from app.protocols.jobs.drawing import drawing_of
from app.protocols.jobs.fields import JOB_FIELDS, Extras, read_extras
from app.protocols.jobs.receiving import received_job
from app.protocols.jobs.repeating import idempotency
from app.protocols.jobs.source import Described, Elsewhere, Sent, Source, Uploaded, described, read_source
from app.protocols.openai.asking import asked_options
from app.protocols.openai.wishes import Wishes, read_wishes
from app.service.admission import Caller
from app.service.jobs.job import Idempotency, Job, JobRequest
from app.service.residents import ServedModel
from app.service.service import SpeechService
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the form says."""

    source: Source
    model: ServedModel
    extras: Extras
    wishes: Wishes
    idempotency: Idempotency | None


async def submitted(request: Request, service: SpeechService) -> tuple[Job, bool]:
    """The job that a request hands over; True: it was handed over before.

    Raises:
        SpeechError: something of it cannot be had, or not now.
    """
    who, settings = caller(request), service.settings
    async with AsyncExitStack() as stack:
        # Before the body is read: who cannot hand anything over shall know at once.
        ticket = stack.enter_context(service.admit_job(who))
        form = stack.enter_context(await ticket.in_time(received_job(request, settings.temp_dir)))
        form.log_unknown(JOB_FIELDS, request_id(request))
        ticket.begin()
        model = service.resolve(form.text("model"))
        header = request.headers.get("idempotency-key")
        # In a thread: ten thousand hotwords take a while to read, and a recording's digest takes longer.
        reading = asyncio.to_thread(_read, form, header, model, settings)
        asked = await while_connected(request.receive, ticket.in_time(reading))
        options = await while_connected(request.receive, asked_options(service, model, asked.wishes, ticket))
        return await _handed_over(service, who, asked, options)


def _read(form: Form, header: str | None, model: ServedModel, settings: Settings) -> _Asked:
    source = read_source(form, settings.max_job_audio_size)
    extras = read_extras(form, header, settings)
    wishes = read_wishes(form, extras.task, model, settings, any_format=True)
    key = extras.idempotency_key
    try:
        return _Asked(source, model, extras, wishes, None if key is None else idempotency(form, source, key))
    except OSError as error:
        raise not_stored(error) from error


async def _handed_over(
    service: SpeechService, who: Caller, asked: _Asked, options: RecognitionOptions
) -> tuple[Job, bool]:
    """Not ended by its client's leaving: what is stored is stored."""
    jobs, source, key = service.jobs, asked.source, asked.idempotency
    if not isinstance(source, Uploaded):
        wanted = _request(asked, options, service.settings)
        made = await jobs.submit(who, wanted, source.path if isinstance(source, Sent) else None, key)
        return made.job, made.again
    # Of an upload that has become a job nothing is left to be taken.
    if key is not None and (job := await jobs.submitted(who.key, key)) is not None:
        return job, True
    async with service.uploads.take(who.key, source.said) as path:
        about = described((await service.uploads.find(who.key, source.said)).metadata)
        made = await jobs.submit(who, _request(asked, options, service.settings, about), path, key)
    return made.job, made.again


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
