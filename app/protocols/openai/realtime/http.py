"""Routes that give out ephemeral keys, with which a browser opens a session without knowing the server's key."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request

from app.protocols.body import receive_json
from app.protocols.callers import Key, caller
from app.protocols.openai.realtime.fields import Fields
from app.protocols.openai.realtime.plan import Plan, plan_of, shown
from app.protocols.openai.realtime.settings import SessionSettings, read_session
from app.protocols.openai.realtime.wire import new_id
from app.protocols.openai.schema import error_responses
from app.service.secrets import LONGEST, SHORTEST, USUAL, EphemeralKey, EphemeralKeys
from app.service.service import SpeechService

MOST_BYTES = 32 * 1024
"""Of a body: a thousand of them may be kept for an hour."""
_MOST_VALUES = 4_000

router = APIRouter(prefix="/v1/realtime", tags=["Realtime"])

_SESSION = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}}}


def _request(example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/client_secrets",
    summary="Get an ephemeral key for live transcription",
    openapi_extra=_request({"expires_after": {"anchor": "created_at", "seconds": USUAL}, "session": _SESSION}),
    responses=error_responses(400, 401, 404, 413, 429, 503),
)
async def create_client_secret(request: Request, _key: Key) -> dict[str, Any]:
    """A key that opens sessions at `/v1/realtime`, with these settings and in your name, until it expires."""
    body = await _body(request)
    seconds = _seconds(body.inner("expires_after"))
    said = body.raw.get("session")
    settings, plan = await _settled(request, {} if said is None else said)
    key = _issued(request, {} if said is None else said, seconds)
    session = shown(new_id("sess"), settings, plan, flat=False)
    return {"value": key.value, "expires_at": key.expires_at, "session": session}


@router.post(
    "/transcription_sessions",
    summary="Get an ephemeral key for live transcription (beta)",
    openapi_extra=_request({"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}}),
    responses=error_responses(400, 401, 404, 413, 429, 503),
)
async def create_transcription_session(request: Request, _key: Key) -> dict[str, Any]:
    """The same as the beta has it: the body is the session."""
    body = await _body(request)
    secret = body.inner("client_secret")
    seconds = _seconds(secret.inner("expires_at") if secret else None)
    said = {name: value for name, value in body.raw.items() if name != "client_secret"}
    settings, plan = await _settled(request, said)
    key = _issued(request, said, seconds)
    session = shown(new_id("sess"), settings, plan, flat=True)
    return {**session, "client_secret": {"value": key.value, "expires_at": key.expires_at}}


async def _body(request: Request) -> Fields:
    service: SpeechService = request.app.state.service
    return Fields(
        await receive_json(request, max_bytes=MOST_BYTES, max_values=_MOST_VALUES, folder=service.settings.temp_dir)
    )


def _seconds(said: Fields | None) -> int:
    if said is None:
        return USUAL
    said.choice("anchor", ("created_at",))
    return said.whole("seconds", SHORTEST, LONGEST) or USUAL


async def _settled(request: Request, said: object) -> tuple[SessionSettings, Plan]:
    """The session that is asked for. Raises SpeechError if it cannot be had."""
    service: SpeechService = request.app.state.service
    settings = read_session(said, SessionSettings(), service.settings.max_hotwords)
    return settings, await plan_of(settings, service, caller(request).key)


def _issued(request: Request, said: object, seconds: int) -> EphemeralKey:
    keys: EphemeralKeys = request.app.state.ephemeral_keys
    return keys.issue(caller(request).key, json.dumps(said), seconds)
