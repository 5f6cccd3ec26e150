"""OpenAI's audio routes: a recording in, a transcript out in any of its formats, at once or as it is recognised."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import BadAudio, InvalidParameter, PermissionDenied
from app.domain.options import RecognitionOptions, Task
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Transcript
from app.protocols import rendering
from app.protocols.body import is_json
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.forms import Form, receive_form
from app.protocols.json_form import INPUT, receive_json_form
from app.protocols.labels import Label, lettered, numbered
from app.protocols.openai import schema, streaming
from app.protocols.openai.speakers import DIARIZED, known_voices
from app.protocols.openai.text import with_text
from app.protocols.openai.wire import (
    DeletedModelBody,
    ModelBody,
    ModelList,
    diarized_body,
    transcription_body,
    verbose_body,
)
from app.protocols.openai.wishes import ADDRESS, KNOWN_FIELDS, Wishes, read_wishes
from app.service.admission import Ticket
from app.service.residents import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

router = APIRouter(prefix="/v1", tags=["OpenAI"])
SPEAKERS_UNAVAILABLE = "speakers_unavailable"
"""Warning: speakers are told apart by default, but the models for it are not there."""


@router.post(
    "/audio/transcriptions",
    summary="Transcribe a recording",
    openapi_extra=schema.transcription_request(),
    responses=schema.recognition_responses(stream=True),
    response_class=Response,
)
async def create_transcription(request: Request, _key: Key) -> Response:
    """Recognise speech in the language spoken.

    Answers in the format asked for; with `stream=true` text arrives as server-sent events while the recording is
    still being recognised: as soon as it is known, with models that tell a few words at a time, otherwise piece by
    piece. With `response_format=diarized_json`, `include[]=logprobs` or `channel_split=true` each text delta is one
    segment, as speakers, probabilities and the order of channels belong to segments. The header `x-asr-model` names
    the model that answered.
    """
    return await _recognize(request, "transcribe")


@router.post(
    "/audio/translations",
    summary="Translate a recording into English",
    openapi_extra=schema.translation_request(),
    responses=schema.recognition_responses(stream=False),
    response_class=Response,
)
async def create_translation(request: Request, _key: Key) -> Response:
    """Recognise speech and write it down in English. `language` is the language spoken, if it is known."""
    return await _recognize(request, "translate")


@router.get("/models", summary="List the models that answer now", responses=schema.model_responses(many=True))
async def list_models(request: Request, _key: Key) -> ModelList:
    """The models a request may name, the default first."""
    return ModelList(data=[_model_body(model) for model in _service(request).models()])


@router.get("/models/{name:path}", summary="Describe a model", responses=schema.model_responses(many=False))
async def get_model(request: Request, name: str, _key: Key) -> ModelBody:
    """The model that answers requests naming `name`: an id from the list, or an alias such as whisper-1."""
    return _model_body(_service(request).resolve(name))


@router.post("/models/{name:path}", summary="Load a model", responses=schema.loading_responses())
async def load_model(request: Request, name: str, _key: Key) -> ModelBody:
    """Have a model that is on this machine answer beside those that do; answered once it does. Needs API_KEYS."""
    _check_guarded(request)
    return _model_body(await _service(request).load_model(name))


@router.delete("/models/{name:path}", summary="Unload a model", responses=schema.unloading_responses())
async def delete_model(request: Request, name: str, _key: Key) -> DeletedModelBody:
    """End a model's answering. Its files stay. Needs API_KEYS.

    New requests for it get 404 from here on. Those that use it come to their end, then its memory is freed, then this
    is answered. If it was the default, the next model of the list takes its place.
    """
    _check_guarded(request)
    return DeletedModelBody(id=await _service(request).unload_model(name))


async def _recognize(request: Request, task: Task) -> Response:
    service = _service(request)
    settings = service.settings
    async with AsyncExitStack() as stack:
        # Before the body is read: who cannot be served in time shall know at once.
        ticket = stack.enter_context(service.admit(caller(request)))
        form = stack.enter_context(await ticket.in_time(_received(request, settings.temp_dir)))
        form.log_unknown(KNOWN_FIELDS | {INPUT}, request_id(request))
        recording, declared, field = _recording(form, settings.max_audio_size)
        model = service.resolve(form.text("model"))
        # In a thread: ten thousand hotwords take a while to read, and the loop has others to serve.
        wishes = await asyncio.to_thread(read_wishes, form, task, model, settings)
        headers = {"x-asr-model": model.id}
        drawing = _drawing(wishes, settings)
        ticket.begin(streamed=wishes.stream)
        options = await while_connected(request.receive, _options(service, model, wishes, ticket))
        if isinstance(recording, Path):
            path = recording
        else:
            fetched = stack.enter_async_context(service.fetched(recording, ticket, param=ADDRESS))
            path = await while_connected(request.receive, fetched)
        with _at_fault(field):
            if wishes.stream:
                early = not (drawing.diarized or drawing.logprobs)
                items = service.stream(path, model.id, options, ticket, declared, early=early)
                feed = streaming.Feed(items, stack.pop_all())
                return await _streamed(request, feed, drawing, headers)
            work = service.transcribe(path, model.id, options, ticket, declared)
            transcript = await while_connected(request.receive, work)
        if wishes.options.speakers is not None and options.speakers is None and not options.split_channels:
            transcript = replace(transcript, warnings=(*transcript.warnings, SPEAKERS_UNAVAILABLE))
        return await ticket.in_time(service.drawing(_rendered, transcript, wishes, drawing.label, headers))


async def _received(request: Request, folder: Path | None) -> Form:
    """The request's fields: of a form, or, as Open WebUI can be set to send them, of JSON."""
    return await receive_json_form(request, folder) if is_json(request) else await receive_form(request, folder)


def _recording(form: Form, max_bytes: int) -> tuple[Path | str, DeclaredSound | None, str]:
    """Where the recording lies, and what it is without a header; or its address, where it is not in the request. And
    the field that says so.

    Raises:
        InvalidParameter: there is none, or more than one.
        EmptyAudio, UploadTooLarge: it has no bytes, or too many.
    """
    address = (form.text(ADDRESS) or "").strip()
    if not form.has("file") and not form.has(INPUT) and not address:
        told = f"file is required: it is the audio. (JSON has it in {INPUT}; {ADDRESS} may say where it lies.)"
        raise InvalidParameter(told, param="file")
    if address and not form.holds("file") and not form.holds(INPUT):
        return address, None, ADDRESS
    names = (name for name in ("file", INPUT) if form.holds(name))
    name = next(names, "file" if form.has("file") else INPUT)
    return form.file(name, max_bytes), declared_sound(form.media_type(name)), name


@contextmanager
def _at_fault(field: str) -> Generator[None, None, None]:
    """Names the field that the recording came in, where nothing can be made of it."""
    try:
        yield
    except BadAudio as error:
        raise type(error)(error.message, param=field) from error


async def _options(service: SpeechService, model: ServedModel, wishes: Wishes, ticket: Ticket) -> RecognitionOptions:
    """What is asked of the recogniser, with the hotwords that are stored and the voices it may name.

    Raises:
        SpeechError: something is asked for in so many words and cannot be had.
    """
    options = await with_text(wishes.options, wishes.text, model, service, ticket.key)
    return replace(options, speakers=await _speaker_options(service, wishes, ticket))


async def _speaker_options(service: SpeechService, wishes: Wishes, ticket: Ticket) -> SpeakerOptions | None:
    """None where nobody asked for speakers in so many words and they cannot be told apart."""
    speakers = wishes.speakers
    if speakers.options is None or (not service.tells_speakers and speakers.asked_by is None):
        return None
    service.check_speakers(param=speakers.asked_by)
    return replace(speakers.options, voices=await known_voices(speakers, service, ticket.key, ticket))


def _drawing(wishes: Wishes, settings: Settings) -> streaming.Drawing:
    diarized = wishes.format == DIARIZED
    label = lettered if diarized else numbered(settings.speaker_labels or "en")
    return streaming.Drawing(label, logprobs=wishes.options.logprobs, diarized=diarized)


async def _streamed(
    request: Request, feed: streaming.Feed, drawing: streaming.Drawing, headers: dict[str, str]
) -> Response:
    """The stream, once its first item is there: what fails before that still gets a status of its own."""
    try:
        patience = streaming.KEEP_ALIVE_SECONDS
        first = await while_connected(request.receive, feed.next(patience))
    except BaseException:
        await feed.aclose()
        raise
    source = streaming.events(feed, first, drawing, request_id=request_id(request))
    return streaming.EventStream(source, feed, headers)


def _rendered(transcript: Transcript, wishes: Wishes, label: Label, headers: dict[str, str]) -> Response:
    logprobs, task = wishes.options.logprobs, wishes.options.task
    match wishes.format:
        case "text":
            return Response(rendering.plain_text(transcript), media_type="text/plain", headers=headers)
        case "srt":
            return Response(rendering.srt(transcript, label), media_type="text/plain", headers=headers)
        case "vtt":
            return Response(rendering.vtt(transcript, label), media_type="text/vtt", headers=headers)
        case "verbose_json":
            return _json(verbose_body(transcript, label, task=task, words=wishes.words, logprobs=logprobs), headers)
        case "diarized_json":
            return _json(diarized_body(transcript, label, task=task), headers)
        case _:
            return _json(transcription_body(transcript, logprobs=logprobs), headers)


def _json(body: BaseModel, headers: dict[str, str]) -> Response:
    return Response(body.model_dump_json(exclude_none=True), media_type="application/json", headers=headers)


def _check_guarded(request: Request) -> None:
    """That a key was needed to come here: models are not anybody's to take away.

    Raises:
        PermissionDenied: none was.
    """
    if request.app.state.keyring.open:
        raise PermissionDenied(
            "Models are loaded and unloaded with an API key only, and this server has none: set API_KEYS."
        )


def _service(request: Request) -> SpeechService:
    return request.app.state.service


def _model_body(model: ServedModel) -> ModelBody:
    return ModelBody(id=model.id, created=model.created, description=model.description)
