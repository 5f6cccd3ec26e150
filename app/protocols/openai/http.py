"""OpenAI's audio routes: a recording in, a transcript out in any of its formats, at once or as it is recognised."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import InvalidParameter, PermissionDenied
from app.domain.options import Task
from app.domain.transcript import Transcript
from app.protocols import event_stream
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.forms import Form
from app.protocols.json_form import INPUT
from app.protocols.openai import schema, streaming
from app.protocols.openai.asking import asked_options, at_fault, lacks_speakers, received, warned
from app.protocols.openai.drawing import Look, drawn, label_of
from app.protocols.openai.speakers import DIARIZED
from app.protocols.openai.wire import DeletedModelBody, ModelBody, ModelList
from app.protocols.openai.wishes import ADDRESS, KNOWN_FIELDS, Wishes, read_wishes
from app.service.residents import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

router = APIRouter(prefix="/v1", tags=["OpenAI"])


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
        form = stack.enter_context(await ticket.in_time(received(request, settings.temp_dir)))
        form.log_unknown(KNOWN_FIELDS | {INPUT}, request_id(request))
        recording, declared, field = _recording(form, settings.max_audio_size)
        model = service.resolve(form.text("model"))
        # In a thread: ten thousand hotwords take a while to read, and the loop has others to serve.
        wishes = await asyncio.to_thread(read_wishes, form, task, model, settings)
        headers = {"x-asr-model": model.id}
        drawing = _drawing(wishes, settings)
        ticket.begin(streamed=wishes.stream)
        options = await while_connected(request.receive, asked_options(service, model, wishes, ticket))
        if isinstance(recording, Path):
            path = recording
        else:
            fetched = stack.enter_async_context(service.fetched(recording, ticket, param=ADDRESS))
            path = await while_connected(request.receive, fetched)
        with at_fault(field):
            if wishes.stream:
                early = not (drawing.diarized or drawing.logprobs)
                items = service.stream(path, model.id, options, ticket, declared, early=early)
                feed = streaming.Feed(items, stack.pop_all())
                return await _streamed(request, feed, drawing, headers)
            work = service.transcribe(path, model.id, options, ticket, declared)
            transcript = await while_connected(request.receive, work)
        if lacks_speakers(wishes, options):
            transcript = warned(transcript)
        look = Look(wishes.format, drawing.label, task, wishes.words, drawing.logprobs)
        return await ticket.in_time(service.drawing(_rendered, transcript, look, headers))


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


def _drawing(wishes: Wishes, settings: Settings) -> streaming.Drawing:
    label = label_of(wishes.format, settings.speaker_labels or "en")
    return streaming.Drawing(label, logprobs=wishes.options.logprobs, diarized=wishes.format == DIARIZED)


async def _streamed(
    request: Request, feed: streaming.Feed, drawing: streaming.Drawing, headers: dict[str, str]
) -> Response:
    """The stream, once its first item is there: what fails before that still gets a status of its own."""
    try:
        patience = event_stream.KEEP_ALIVE_SECONDS
        first = await while_connected(request.receive, feed.next(patience))
    except BaseException:
        await feed.aclose()
        raise
    source = streaming.events(feed, first, drawing, request_id=request_id(request))
    return event_stream.EventStream(source, feed, headers)


def _rendered(transcript: Transcript, look: Look, headers: dict[str, str]) -> Response:
    text, media_type = drawn(transcript, look)
    return Response(text, media_type=media_type, headers=headers)


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
