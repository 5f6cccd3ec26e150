"""OddASR's recognition routes: a recording in a form, its text in one of three layouts."""

from __future__ import annotations

from contextlib import ExitStack

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.audio.declared import declared_sound
from app.domain.errors import InvalidParameter
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.forms import Form, receive_form
from app.protocols.oddasr.narration import odd_label
from app.protocols.oddasr.rest import schema
from app.protocols.oddasr.rest.layouts import drawn
from app.protocols.oddasr.rest.wishes import AUDIO, AUDIO_MISSING, FIELDS, audio_field, read_wishes
from app.service.service import SpeechService
from app.settings import Settings

router = APIRouter(tags=["OddASR"])
_FORM = "multipart/form-data"
_NO_UPLOADS = "Recordings are not kept by themselves: send them to /v1/asr/task/create, or to /v1/asr/file."
_NOTHING_TO_SWITCH = "There is no transmission to switch here: live speech begins and ends with its WebSocket."


@router.post(
    "/v1/asr",
    summary="Recognise a recording (OddASR)",
    openapi_extra=schema.recognition_request(),
    responses=schema.recognition_responses(),
    response_class=Response,
)
@router.post(
    "/v1/asr/file",
    summary="Recognise a recording (OddASR, newer versions)",
    openapi_extra=schema.recognition_request(),
    responses=schema.recognition_responses(),
    response_class=Response,
)
async def recognize_file(request: Request, _key: Key) -> Response:
    """Text as OddASR lays it out: a line for each sentence, the same with speakers, or subtitles."""
    return await _recognize(request, one_line=False)


@router.post(
    "/v1/asr/sentence",
    summary="Recognise a few words (OddASR)",
    openapi_extra=schema.recognition_request(),
    responses=schema.recognition_responses(),
    response_class=Response,
)
async def recognize_sentence(request: Request, _key: Key) -> Response:
    """The same; `txt` is on one line, however many sentences there are."""
    return await _recognize(request, one_line=True)


@router.post("/v1/asr/file/upload", include_in_schema=False)
@router.post("/api/v3/file/upload", include_in_schema=False)
async def upload_file() -> Response:
    """In OddASR these said "OK" and kept nothing."""
    raise HTTPException(501, _NO_UPLOADS)


@router.post("/update_transmit", include_in_schema=False)
async def update_transmit() -> Response:
    """In OddASR this said "OK" and did nothing."""
    raise HTTPException(501, _NOTHING_TO_SWITCH)


async def _recognize(request: Request, *, one_line: bool) -> Response:
    service: SpeechService = request.app.state.service
    settings = service.settings
    with ExitStack() as stack:
        # Before the body is read: who cannot be served in time shall know at once.
        ticket = stack.enter_context(service.admit(caller(request)))
        form = stack.enter_context(await ticket.in_time(_form(request, settings)))
        form.log_unknown(FIELDS, request_id(request))
        audio = audio_field(form)
        path = form.file(audio, settings.max_audio_size)
        declared = declared_sound(form.media_type(audio))
        model = service.resolve(form.text("model"))
        ticket.begin()
        wishes = await while_connected(request.receive, read_wishes(form, model, service, ticket.key))
        work = service.transcribe(path, model.id, wishes.options, ticket, declared)
        transcript = await while_connected(request.receive, work)
        label = odd_label(settings.speaker_labels or "zh")
        drawing = service.drawing(drawn, transcript, wishes.layout, label, one_line=one_line)
        text = await ticket.in_time(drawing)
        return JSONResponse({"text": text}, headers={"x-asr-model": model.id})


async def _form(request: Request, settings: Settings) -> Form:
    """The form. What is none has no recording, as OddASR puts it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise InvalidParameter(f"{AUDIO_MISSING} Send a form ({_FORM}).", param=AUDIO[0])
    return await receive_form(request, settings.temp_dir)
