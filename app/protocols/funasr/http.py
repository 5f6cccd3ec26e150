"""FunASR's HTTP servers: `POST /recognition` of its runtime, and what funasr-server answers at `/asr`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.audio.declared import declared_sound
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker, SpeakerOptions
from app.domain.transcript import Segment, Transcript
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.faults import Fault
from app.protocols.forms import Form, receive_form
from app.protocols.languages import spoken_language
from app.protocols.words import bare_words
from app.service.admission import Ticket
from app.service.residents import ServedModel
from app.service.service import SpeechService

router = APIRouter(tags=["FunASR"])
AUDIO = "audio"


class SentenceBody(BaseModel):
    """A sentence, its times in milliseconds."""

    text: str
    start: int
    end: int


class RecognitionBody(BaseModel):
    """POST /recognition. `code` 0: it went well."""

    text: str
    sentences: list[SentenceBody]
    code: int = 0


class FailureBody(BaseModel):
    """POST /recognition, where it went wrong."""

    msg: str
    code: int = 1


class WordBody(BaseModel):
    """A word, its times in seconds."""

    word: str
    start: float
    end: float


class SegmentBody(BaseModel):
    """A segment, its times in seconds. `speaker`, where speakers were asked for: SPK0, SPK1 ..., or a voice's name."""

    text: str
    start: float
    end: float
    words: list[WordBody] | None = None
    speaker: str | None = None


class ServerBody(BaseModel):
    """What funasr-server answers: seconds of sound and of work, and how many of these one of those took."""

    text: str
    segments: list[SegmentBody]
    duration: float
    processing_time: float
    rtf: float


_FORM: dict[str, Any] = {
    "type": "object",
    "required": [AUDIO],
    "properties": {AUDIO: {"type": "string", "format": "binary", "description": "The recording."}},
}
_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": FailureBody, "description": "The form or the audio makes no sense."},
    401: {"model": FailureBody, "description": "No API key, or a wrong one."},
    408: {"model": FailureBody, "description": "The upload does not arrive."},
    413: {"model": FailureBody, "description": "More bytes or seconds than the server takes."},
    429: {"model": FailureBody, "description": "The server is full, or this key has used up what it may."},
    500: {"model": FailureBody, "description": "The server failed."},
    503: {"model": FailureBody, "description": "The model is still loading, or not there."},
    504: {"model": FailureBody, "description": "It takes longer than a request may."},
}


@router.post(
    "/recognition",
    summary="Transcribe a recording (FunASR's runtime)",
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
    responses=_FAILURES,
    response_model=RecognitionBody,
)
async def recognize(request: Request, _key: Key) -> Response:
    """Recognise speech with the default model. Errors are `{"msg": ..., "code": 1}`, with a status that says more."""
    service: SpeechService = request.app.state.service
    async with AsyncExitStack() as stack:
        ticket = stack.enter_context(service.admit(caller(request)))
        form = stack.enter_context(await ticket.in_time(receive_form(request, service.settings.temp_dir, part=AUDIO)))
        transcript = await _heard(
            request, form, AUDIO, ticket, model=service.resolve(None), options=RecognitionOptions()
        )
        return await ticket.in_time(_drawn(service, _recognition_body, transcript))


def face(fault: Fault, _scope: Scope) -> Response:
    """The answer to a fault at /recognition."""
    return JSONResponse(FailureBody(msg=fault.message).model_dump(), fault.status)


async def recognize_at_asr(request: Request, form: Form, ticket: Ticket) -> Response:
    """The answer to a form as funasr-server takes it at /asr: `file`, `language`, `hotwords`, `spk`.

    Raises:
        SpeechError: any leaf.
    """
    service: SpeechService = request.app.state.service
    began = time.monotonic()
    model = service.resolve(None)
    language = (form.text("language") or "").strip()
    speakers = SpeakerOptions() if form.flag("spk") else None
    if speakers:
        service.check_speakers(param="spk")
    form.check_list("hotwords")
    options = RecognitionOptions(
        language=spoken_language(language, model) if language.lower() not in {"", "auto"} else None,
        hotwords=await asked_hotwords({"hotwords": form.texts("hotwords")}, None, model, service, ticket.key),
        speakers=speakers,
    )
    transcript = await _heard(request, form, "file", ticket, model=model, options=options)
    took = time.monotonic() - began
    return await ticket.in_time(_drawn(service, lambda heard: _server_body(heard, took), transcript))


async def _heard(
    request: Request, form: Form, part: str, ticket: Ticket, *, model: ServedModel, options: RecognitionOptions
) -> Transcript:
    service: SpeechService = request.app.state.service
    path = form.file(part, service.settings.max_audio_size)
    declared = declared_sound(form.media_type(part))
    ticket.begin()
    return await while_connected(request.receive, service.transcribe(path, model.id, options, ticket, declared))


def _recognition_body(transcript: Transcript) -> BaseModel:
    sentences = [
        SentenceBody(text=one.text, start=round(one.start * 1000), end=round(max(one.start, one.end) * 1000))
        for one in transcript.segments
    ]
    return RecognitionBody(text=transcript.text, sentences=sentences)


def _server_body(transcript: Transcript, took: float) -> BaseModel:
    return ServerBody(
        text=transcript.text,
        segments=[_segment(one) for one in transcript.segments],
        duration=round(transcript.duration, 3),
        processing_time=round(took, 3),
        rtf=round(took / transcript.duration, 4) if transcript.duration else 0.0,
    )


def _segment(segment: Segment) -> SegmentBody:
    words = [
        WordBody(word=word.text, start=round(word.start, 3), end=round(max(word.start, word.end), 3))
        for word in bare_words(segment.words)
    ]
    return SegmentBody(
        text=segment.text,
        start=round(segment.start, 3),
        end=round(max(segment.start, segment.end), 3),
        words=words or None,
        speaker=_label(segment.speaker) if segment.speaker else None,
    )


def _label(speaker: Speaker) -> str:
    return speaker.name or f"SPK{speaker.number}"


async def _drawn(service: SpeechService, draw: Callable[[Transcript], BaseModel], transcript: Transcript) -> Response:
    content = await service.drawing(lambda: draw(transcript).model_dump_json(exclude_none=True))
    return Response(content, media_type="application/json")
