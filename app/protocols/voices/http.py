"""Routes for enrolled voices: people whom transcripts can call by name. Everybody sees their own only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import APIRouter, Request
from fastapi import Path as PathField

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import UndecodableAudio
from app.domain.speakers import Voiceprint
from app.pipeline.diarization.matching import best_first
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.forms import Form, receive_form
from app.protocols.voices import schema
from app.protocols.voices.wire import (
    DeletedVoiceBody,
    IdentificationBody,
    VoiceBody,
    VoiceList,
    identification_body,
    voice_body,
    voice_list,
)
from app.service.admission import Caller, Ticket
from app.service.voices.names import clean_name
from app.service.voices.store import MAX_SAMPLES, EnrolledVoice, VoiceStore
from app.settings import Settings

ENROLMENT_FIELDS = frozenset({"name", "files", "file"})
SAMPLE_FIELDS = frozenset({"files", "file"})
IDENTIFICATION_FIELDS = frozenset({"file", "voices"})

VoiceId = Annotated[str, PathField(alias="id", description="A voice's id.")]

router = APIRouter(prefix="/v1/voices", tags=["Voices"])


class VoiceService(Protocol):
    """What these routes ask of the service."""

    settings: Settings
    voices: VoiceStore

    @property
    def encoder_id(self) -> str:
        """The model that makes voiceprints."""
        ...

    @property
    def voice_threshold(self) -> float:
        """The similarity from which two voices are taken for one."""
        ...

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request, to be asked for before its body is read."""
        ...

    async def voiceprint(
        self, path: Path, ticket: Ticket, declared: DeclaredSound | None = None, param: str = "file"
    ) -> Voiceprint:
        """What the voice in a recording sounds like; `param` names the recording in errors."""
        ...


@dataclass(frozen=True, slots=True)
class _Sample:
    """An uploaded recording; `param` names it in errors."""

    path: Path
    declared: DeclaredSound | None
    param: str


@router.post(
    "",
    summary="Enrol a voice",
    status_code=201,
    openapi_extra=schema.enrolment_request(),
    responses=schema.voice_responses("The new voice.", status=201, errors=(400, 408, 409, 413, 429, 500, 504)),
)
async def enrol_voice(request: Request, _key: Key) -> VoiceBody:
    """Learn a person's voice from recordings in which nobody else speaks.

    What is kept is a voiceprint of each recording, not the recording. If one cannot be used, nothing is enrolled.
    """
    service, asking = _service(request), caller(request)
    with service.admit(asking) as ticket, await ticket.in_time(_form(request, service, ENROLMENT_FIELDS)) as form:
        name = clean_name(form.text("name"))
        samples = _samples(form, service)
        ticket.begin()

        async def work() -> EnrolledVoice:
            return await service.voices.enrol(asking.key, name, await _voiceprints(service, samples, ticket))

        return voice_body(await while_connected(request.receive, work()))


@router.post(
    "/identify",
    summary="Ask who speaks",
    openapi_extra=schema.identification_request(),
    responses=schema.identification_responses(),
)
async def identify_voice(request: Request, _key: Key) -> IdentificationBody:
    """Compare the voice in a recording with enrolled voices. `voice` is null where none is alike enough."""
    service, asking = _service(request), caller(request)
    with service.admit(asking) as ticket, await ticket.in_time(_form(request, service, IDENTIFICATION_FIELDS)) as form:
        path = form.file("file", service.settings.max_audio_size)
        declared = declared_sound(form.media_type("file"))
        candidates = form.items("voices") or None
        ticket.begin()

        async def work() -> IdentificationBody:
            known = await service.voices.known(asking.key, service.encoder_id, candidates)
            voiceprint = await service.voiceprint(path, ticket, declared)
            # In a thread: thousands of samples take a while to compare.
            ranked = await ticket.in_time(asyncio.to_thread(best_first, known, voiceprint))
            return identification_body(ranked, threshold=service.voice_threshold, seconds=voiceprint.seconds)

        return await while_connected(request.receive, work())


@router.post(
    "/{id}/samples",
    summary="Add samples to a voice",
    openapi_extra=schema.samples_request(),
    responses=schema.voice_responses("The voice, with the new samples.", errors=(400, 404, 408, 413, 429, 500, 504)),
)
async def add_samples(request: Request, voice_id: VoiceId, _key: Key) -> VoiceBody:
    """Learn more of a voice. If one recording cannot be used, none is added."""
    service, asking = _service(request), caller(request)
    with service.admit(asking) as ticket:
        await service.voices.get(asking.key, voice_id)  # before the body is read: there may be nothing to add to
        with await ticket.in_time(_form(request, service, SAMPLE_FIELDS)) as form:
            samples = _samples(form, service)
            ticket.begin()

            async def work() -> EnrolledVoice:
                return await service.voices.add(asking.key, voice_id, await _voiceprints(service, samples, ticket))

            return voice_body(await while_connected(request.receive, work()))


@router.get("", summary="List your voices", responses=schema.list_responses())
async def list_voices(request: Request, _key: Key) -> VoiceList:
    """The voices enrolled with your key, oldest first."""
    return voice_list(await _service(request).voices.list(caller(request).key))


@router.get("/{id}", summary="Describe a voice", responses=schema.voice_responses("The voice.", errors=(404,)))
async def get_voice(request: Request, voice_id: VoiceId, _key: Key) -> VoiceBody:
    """One of your voices."""
    return voice_body(await _service(request).voices.get(caller(request).key, voice_id))


@router.delete("/{id}", summary="Delete a voice", responses=schema.deletion_responses())
async def delete_voice(request: Request, voice_id: VoiceId, _key: Key) -> DeletedVoiceBody:
    """Forget a voice. Its name and voiceprints are gone from the disk, too, when the answer is sent."""
    await _service(request).voices.delete(caller(request).key, voice_id)
    return DeletedVoiceBody(id=voice_id)


def _service(request: Request) -> VoiceService:
    return request.app.state.service


async def _form(request: Request, service: VoiceService, known_fields: frozenset[str]) -> Form:
    form = await receive_form(request, service.settings.temp_dir, MAX_SAMPLES)
    form.log_unknown(known_fields, request_id(request))
    return form


def _samples(form: Form, service: VoiceService) -> list[_Sample]:
    files = form.files("files", "file", max_bytes=service.settings.max_audio_size)
    return [_sample(path, media_type, f"files[{place}]") for place, (path, media_type) in enumerate(files)]


def _sample(path: Path, media_type: str | None, param: str) -> _Sample:
    try:
        return _Sample(path, declared_sound(media_type), param)
    except UndecodableAudio as error:
        raise UndecodableAudio(error.message, param=param) from None


async def _voiceprints(service: VoiceService, samples: list[_Sample], ticket: Ticket) -> list[Voiceprint]:
    """One of each sample, in order; the first that fails ends it."""
    return [await service.voiceprint(sample.path, ticket, sample.declared, sample.param) for sample in samples]
