"""funasr-api's protocol for Qwen3-ASR over a WebSocket: one session a connection."""

from __future__ import annotations

import asyncio
import logging
import uuid

from fastapi import APIRouter, WebSocket

from app.domain.errors import AuthenticationFailed, EngineFailure, RequestError, SpeechError, UploadTooSlow
from app.protocols.closing import close_code, close_reason
from app.protocols.inbox import Inbox
from app.protocols.qwen.parameters import Start, read_start
from app.protocols.qwen.session import Session
from app.protocols.qwen.wire import InvalidState, failure, read_command
from app.protocols.sockets import Socket
from app.service.admission import Caller
from app.service.service import SpeechService

PATH, OLD_PATH = "/ws/v1/asr/qwen", "/ws/v1/qwen3/asr"
"""The second is where the first versions of funasr-api had it, and where its banner still says it is."""
START_SECONDS = 60.0
"""How long a connection may have no session."""
_LONGEST_ID = 128

router = APIRouter()
_logger = logging.getLogger(__name__)


@router.websocket(PATH)
@router.websocket(OLD_PATH)
async def talk(websocket: WebSocket) -> None:
    """Serve one connection to its end."""
    socket = Socket(websocket)
    await socket.accept()
    conversation = _Conversation(socket, websocket.app.state.service)
    try:
        await conversation.run()
    except SpeechError as error:
        await conversation.fail(error)
    except Exception:  # a connection ends here
        _logger.exception("a connection of Qwen's protocol failed")
        await conversation.fail(EngineFailure("Something went wrong in the server; its log has the details."))
    finally:
        await conversation.aclose()


class _Conversation:
    """One connection: what comes before its session, the session, and its end."""

    def __init__(self, socket: Socket, service: SpeechService) -> None:
        self._socket = socket
        self._inbox = Inbox(socket)
        self._service = service
        self._task_id = socket.query.get("task_id", "")[:_LONGEST_ID] or str(uuid.uuid4())[:8]

    async def run(self) -> None:
        """Everything, to the end of the session.

        Raises:
            SpeechError: the client has yet to be told, and the connection to be closed.
        """
        caller = self._socket.caller
        if caller is None:
            raise AuthenticationFailed("A valid API key is needed: Authorization: Bearer <key>, or ?token=<key>.")
        start = await self._start(caller)
        if start is not None:
            await Session(self._socket, self._inbox, self._service, caller, self._task_id).run(start)
            await self._socket.close()

    async def fail(self, error: SpeechError) -> None:
        """Tell the client why there will be no (more) text, and end the connection."""
        cause = error.__cause__
        _logger.log(logging.WARNING if cause else logging.INFO, "Qwen's protocol: %s", error.code, exc_info=cause)
        await self._tell(error)
        await self._socket.close(close_code(error), close_reason(error))

    async def aclose(self) -> None:
        """Leave nothing."""
        await self._inbox.aclose()

    async def _tell(self, error: SpeechError) -> None:
        await self._socket.send(failure(error, self._task_id))

    async def _start(self, caller: Caller) -> Start | None:
        """The first start that makes sense; None when the client has gone. What makes none is answered: the client may
        mend it. Of sound that nobody asked for, only the first message is.

        Raises:
            InvalidState: a stop, after which clients wait for the end.
            UploadTooSlow: none comes in time.
        """
        told = False
        now = asyncio.get_running_loop().time
        deadline = now() + START_SECONDS
        while True:
            try:
                message = await self._inbox.next(max(0.0, deadline - now()))
            except TimeoutError:
                raise UploadTooSlow(f"No session was started within {START_SECONDS:g} s.") from None
            if message is None:
                return None
            before, told = told, True
            if isinstance(message, bytes):
                if not before:
                    await self._tell(InvalidState('Nobody listens yet: say {"type": "start"} before the sound.'))
                continue
            try:
                command = read_command(message)
                if command.type == "start":
                    return await read_start(command, self._service, caller.key)
            except RequestError as error:
                await self._tell(error)
                continue
            raise InvalidState("No session was started, so there is nothing to stop.")
