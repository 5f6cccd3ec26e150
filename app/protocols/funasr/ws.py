"""FunASR's runtime WebSocket protocol: one connection, on which recordings or stretches of speech follow each other."""

from __future__ import annotations

import logging

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette

from app.domain.errors import AuthenticationFailed, EngineFailure, SpeechError, UploadTooSlow
from app.protocols.closing import close_code, close_reason
from app.protocols.funasr import wire
from app.protocols.funasr.opening import Opening, read_control
from app.protocols.funasr.utterances import Kept, Live, Utterance
from app.protocols.inbox import Inbox
from app.protocols.own_port import application_at_every_path
from app.protocols.sockets import NORMAL, Socket
from app.service.admission import Caller
from app.service.service import SpeechService

PATH = "/ws/funasr"
IDLE_SECONDS = 60.0
"""How long a client that has begun may send nothing: a stream's place is not kept for somebody who does not speak."""
REST_SECONDS = 600.0
"""How long it may do so between two recordings: clients keep connections in a pool for five minutes."""
_SUBPROTOCOL = "binary"
_FAREWELL = '{"is_speaking": false}'

router = APIRouter()
_logger = logging.getLogger(__name__)


@router.websocket(PATH)
async def talk(websocket: WebSocket) -> None:
    """Serve one connection to its end."""
    socket = Socket(websocket)
    await socket.accept([_SUBPROTOCOL])
    service: SpeechService = websocket.app.state.service
    conversation = _Conversation(socket, service)
    try:
        await conversation.run()
    except SpeechError as error:
        await conversation.fail(error)
    except Exception:  # a connection ends here
        _logger.exception("a FunASR connection failed")
        await conversation.fail(EngineFailure("Something went wrong in the server; its log has the details."))
    finally:
        await conversation.aclose()


def application_of(main: FastAPI) -> Starlette:
    """The same protocol for a port of its own: most of FunASR's clients know no path."""
    return application_at_every_path(main, talk, "FunASR's WebSocket protocol")


class _Conversation:
    """One connection's state: how the client wants to be heard, and what it is saying."""

    def __init__(self, socket: Socket, service: SpeechService) -> None:
        self._socket = socket
        self._inbox = Inbox(socket)
        self._service = service
        self._opening = Opening()
        self._utterance: Utterance | None = None
        self._answered = False
        """Whether what was said last has its final message, and nothing was said since."""

    async def run(self) -> None:
        """Listen until the client leaves, or says nothing for too long.

        Raises:
            SpeechError: what it says cannot be recognised, or makes no sense.
        """
        caller = self._socket.caller
        if caller is None:
            raise AuthenticationFailed("A valid API key is needed: Authorization: Bearer <key>, or ?token=<key>.")
        while (message := await self._next()) is not None and not self._socket.gone:
            if isinstance(message, bytes):
                await self._hear(message, caller)
            else:
                await self._read(message)

    async def fail(self, error: SpeechError) -> None:
        """Tell the client why there will be no (more) text, and end the connection, which no client overlooks: to most
        an error in a message is nothing, and to some a final message is a success whatever else is in it."""
        cause = error.__cause__
        _logger.log(logging.WARNING if cause else logging.INFO, "FunASR: %s", error.code, exc_info=cause)
        opening = self._opening
        await self._drop()
        await self._socket.send(wire.failure(error, opening.mode, opening.wav_name))
        await self._socket.close(close_code(error), close_reason(error))

    async def aclose(self) -> None:
        """Leave nothing."""
        await self._drop()
        await self._inbox.aclose()

    async def _next(self) -> str | bytes | None:
        """The next message; None when there will be none.

        Raises:
            UploadTooSlow: the client has begun to say something, and says no more.
            SpeechError: what is being heard failed meanwhile.
        """
        utterance = self._utterance
        try:
            if utterance is None:
                return await self._inbox.next(REST_SECONDS)
            return await self._inbox.next(IDLE_SECONDS, utterance.working)
        except TimeoutError:
            if utterance is not None:
                raise UploadTooSlow(f"Nothing arrived for {IDLE_SECONDS:g} s.") from None
            await self._socket.close(NORMAL, "nothing was said")
            return None

    async def _hear(self, data: bytes, caller: Caller) -> None:
        if not data:
            return
        if self._utterance is None:
            kind = Kept if self._opening.mode == "offline" else Live
            self._utterance = kind(self._opening, self._service, caller, self._socket.send)
            self._answered = False
            self._socket.begin(None if kind is Kept else _FAREWELL)  # half a recording is not what was asked for
        await self._utterance.feed(data)

    async def _read(self, text: str) -> None:
        control = read_control(text, self._opening)
        if not control.ends:
            self._opening, self._answered = control.opening, False
            return
        if not self._answered:
            await self._answer()
        self._answered = True
        if control.wants_ack:
            await self._socket.send(wire.acknowledgement(self._opening.mode, self._opening.wav_name))
        self._socket.rest()

    async def _answer(self) -> None:
        """Tell all that is left, the final message included."""
        if self._utterance is None:  # nothing was said
            opening = self._opening
            await self._socket.send(wire.result(wire.LAST_MODE[opening.mode], "", opening.wav_name, final=True))
            return
        await self._inbox.while_here(self._utterance.finish())
        await self._drop()

    async def _drop(self) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.aclose()
