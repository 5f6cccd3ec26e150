"""whisper-asr-webservice's routes, as Bazarr and others ask them: subtitles of a film's sound, and its language."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import BadAudio
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.forms import Form, receive_form
from app.protocols.funasr import http as funasr_http
from app.protocols.payload import Payload
from app.protocols.whisper_asr import schema
from app.protocols.whisper_asr.errors import FILE, OTHER_FILE
from app.protocols.whisper_asr.parameters import Asked, parameters, read_asked, without_header
from app.protocols.whisper_asr.wire import LanguageBody, drawn, language_body
from app.service.service import SpeechService

router = APIRouter(tags=["whisper-asr-webservice"])
_RAW = DeclaredSound("s16le", 16_000)
_LONGEST_NAME = 200


@router.post(
    "/asr",
    summary="Transcribe or translate a recording (whisper-asr-webservice)",
    openapi_extra=schema.recognition_request(),
    responses=schema.recognition_responses(),
    response_class=Response,
)
async def recognize(request: Request, _key: Key) -> Response:
    """Recognise speech. What is wanted stands in the address, as that service has it; the default model answers.

    Every answer is `text/plain`, JSON, too, as that service sends it. Errors are `{"detail": ...}`. A form with `file`
    in place of `audio_file` is funasr-server's: `language`, `hotwords` and `spk` are in the form, the answer is its
    JSON.
    """
    service = _service(request)
    async with AsyncExitStack() as stack:
        ticket = stack.enter_context(service.admit(caller(request)))
        form = stack.enter_context(await ticket.in_time(receive_form(request, service.settings.temp_dir, part=FILE)))
        if form.has(OTHER_FILE) and not form.has(FILE):
            return await funasr_http.recognize_at_asr(request, form, ticket)
        said = parameters(request, form)
        path, declared = _recording(form, said, service)
        model = service.resolve(None)
        asked = read_asked(said, model, service)
        ticket.begin()
        work = service.transcribe(path, model.id, asked.options, ticket, declared)
        with _about_the_file():
            transcript = await while_connected(request.receive, work)
        translated = asked.options.task == "translate"
        drawing = service.drawing(drawn, transcript, asked.output, words=asked.words, translated=translated)
        text = await ticket.in_time(drawing)
        return Response(text, media_type="text/plain", headers=_headers(form, asked, model.id))


@router.post(
    "/detect-language",
    summary="Tell a recording's language (whisper-asr-webservice)",
    openapi_extra=schema.detection_request(),
    responses=schema.detection_responses(),
)
async def detect_language(request: Request, _key: Key) -> LanguageBody:
    """The language of the first half a minute of speech, looked for in a recording's first two minutes.

    Where nobody speaks in them, `language_code` is `und`.
    """
    service = _service(request)
    async with AsyncExitStack() as stack:
        ticket = stack.enter_context(service.admit(caller(request)))
        form = stack.enter_context(await ticket.in_time(receive_form(request, service.settings.temp_dir, part=FILE)))
        path, declared = _recording(form, parameters(request, form), service)
        model = service.resolve(None)
        work = service.language(path, model.id, ticket, declared)
        with _about_the_file():
            heard = await while_connected(request.receive, work)
        return language_body(heard.code, heard.confidence)


def _recording(form: Form, said: Payload, service: SpeechService) -> tuple[Path, DeclaredSound | None]:
    """Where it lies, and what its bytes are if they have no header."""
    path = form.file(FILE, service.settings.max_audio_size)
    if without_header(said):
        return path, _RAW
    with _about_the_file():
        return path, declared_sound(form.media_type(FILE))


@contextmanager
def _about_the_file() -> Generator[None]:
    """Errors about the recording name the part it came in."""
    try:
        yield
    except BadAudio as error:
        raise type(error)(error.message, param=FILE) from error.__cause__


def _headers(form: Form, asked: Asked, model: str) -> dict[str, str]:
    """Some save the answer under the name that it has, which is the recording's and one ending more."""
    name = quote(form.filename(FILE)[:_LONGEST_NAME] or FILE, safe="", errors="replace")
    return {
        "asr-engine": model,
        "content-disposition": f'attachment; filename="{name}.{asked.output}"',
        "x-asr-model": model,
    }


def _service(request: Request) -> SpeechService:
    return request.app.state.service
