"""OpenAI's Realtime protocol for transcription: who may open a session, and how it begins and ends."""

from __future__ import annotations

import json
import logging

from fastapi import APIRouter, WebSocket

from app.domain.errors import AuthenticationFailed, EngineFailure, InvalidParameter, SpeechError
from app.protocols.closing import close_code, close_reason
from app.protocols.openai.errors import error_response
from app.protocols.openai.realtime import wire
from app.protocols.openai.realtime.plan import Plan, plan_of
from app.protocols.openai.realtime.session import Session
from app.protocols.openai.realtime.settings import SessionSettings, read_session
from app.protocols.openai.realtime.wire import ClientEvent
from app.protocols.sockets import Socket
from app.protocols.vllm import session as vllm
from app.service import secrets
from app.service.admission import Caller
from app.service.secrets import EphemeralKeys
from app.service.service import SpeechService

PATH = "/v1/realtime"
_INTENT = "transcription"
_FLAT_SUBPROTOCOL = "openai-beta.realtime-v1"
_FLAT_VALUE = "realtime=v1"
_SUBPROTOCOLS = ("realtime", _FLAT_SUBPROTOCOL)

router = APIRouter()
_logger = logging.getLogger(__name__)


@router.websocket(PATH)
async def talk(websocket: WebSocket) -> None:
    """Serve one connection to its end."""
    socket = Socket(websocket)
    service: SpeechService = websocket.app.state.service
    try:
        caller, settings = _admitted(socket, websocket.app.state.ephemeral_keys, service)
    except AuthenticationFailed as error:
        _logger.info("realtime: %s", error.code)
        await socket.refuse(error_response(error))
        return
    await socket.accept(_SUBPROTOCOLS)
    try:
        settings, plan = await _asked_in_address(socket, service, caller, settings)
    except SpeechError as error:
        await _end(socket, error)
        return
    flat = _FLAT_SUBPROTOCOL in socket.subprotocols or _FLAT_VALUE in socket.header("openai-beta")
    await _serve(socket, service, caller, Session(socket, service, caller, settings, plan, flat=flat))


async def _serve(socket: Socket, service: SpeechService, caller: Caller, session: Session) -> None:
    other: ClientEvent | None = None
    try:
        await session.greet()
        other = await session.run(_is_vllm)
    except SpeechError as error:
        await session.fail(error)
        await _end(socket, error)
    except Exception:  # a connection ends here
        _logger.exception("a realtime connection failed")
        error = EngineFailure("Something went wrong in the server; its log has the details.")
        await session.fail(error)
        await _end(socket, error)
    finally:
        await session.aclose()
    if other is not None:
        await vllm.talk(socket, service, caller, other.body)


def _admitted(socket: Socket, ephemeral: EphemeralKeys, service: SpeechService) -> tuple[Caller, SessionSettings]:
    """Who asks, and for what: an ephemeral key brings a session with it.

    Raises:
        AuthenticationFailed: no key, or a wrong one.
    """
    passing = [key for key in socket.keys if key.startswith(secrets.PREFIX)]
    for grant in filter(None, map(ephemeral.find, passing)):
        said: object = json.loads(grant.session)
        by = Caller(grant.owner, None, *socket.origin)
        return by, read_session(said, SessionSettings(), service.settings.max_hotwords)
    caller = socket.caller
    if passing and (caller is None or not caller.key):  # where no keys are needed, this one was to bring settings
        raise AuthenticationFailed("The ephemeral key is wrong, or has expired.")
    if caller is None:
        raise AuthenticationFailed("A valid API key is needed: Authorization: Bearer <key>, or ?api_key=<key>.")
    return caller, SessionSettings()


async def _asked_in_address(
    socket: Socket, service: SpeechService, caller: Caller, settings: SessionSettings
) -> tuple[SessionSettings, Plan]:
    """What to ask for before the client has said anything. An ephemeral key's model goes before the address's.

    Raises:
        SpeechError: it asks for what is not here.
    """
    if (socket.query.get("intent") or _INTENT) != _INTENT:
        told = f"intent must be {_INTENT}: this server transcribes, and has no voice agents."
        raise InvalidParameter(told, param="intent")
    model = socket.query.get("model")
    if model and settings.transcribing.model is None:
        said = {"audio": {"input": {"transcription": {"model": model}}}}
        settings = read_session(said, settings, service.settings.max_hotwords)
    return settings, await plan_of(settings, service, caller.key)


async def _end(socket: Socket, error: SpeechError) -> None:
    """Tell the client why there will be no (more) text, and end the connection."""
    cause = error.__cause__
    _logger.log(logging.WARNING if cause else logging.INFO, "realtime: %s", error.code, exc_info=cause)
    await socket.send(wire.error(error, None))
    await socket.close(close_code(error), close_reason(error))


def _is_vllm(event: ClientEvent) -> bool:
    """Whether the client speaks vLLM's protocol: its settings are not in an object of their own."""
    return event.type == wire.UPDATE and "session" not in event.body and isinstance(event.body.get("model"), str)
