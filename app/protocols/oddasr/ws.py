"""OddASR's live protocol: one connection, on which sessions may follow each other."""

from __future__ import annotations

import asyncio
import logging

from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette

from app.domain.errors import AuthenticationFailed, EngineFailure, InvalidParameter, SpeechError, UploadTooSlow
from app.protocols.closing import close_code, close_reason
from app.protocols.inbox import Inbox
from app.protocols.oddasr import wire
from app.protocols.oddasr.session import Session
from app.protocols.oddasr.wire import Command, UnknownSession, read_command
from app.protocols.own_port import application_at_every_path
from app.protocols.sockets import NORMAL, Socket
from app.service.admission import Caller
from app.service.auth import KeyRing
from app.service.service import SpeechService

START_SECONDS = 60.0
"""How long a client may take to begin."""
REST_SECONDS = 5.0
"""How long it may take to begin again, once it has stopped: some wait for the end of the connection."""
_logger = logging.getLogger(__name__)


async def talk(websocket: WebSocket) -> None:
    """Serve one connection to its end."""
    socket = Socket(websocket)
    await socket.accept()
    conversation = _Conversation(socket, websocket.app.state.service, websocket.app.state.keyring)
    try:
        await conversation.run()
    except SpeechError as error:
        await conversation.fail(error)
    except Exception:  # a connection ends here
        _logger.exception("an OddASR connection failed")
        await conversation.fail(EngineFailure("Something went wrong in the server; its log has the details."))
    finally:
        await conversation.aclose()


def application_of(main: FastAPI) -> Starlette:
    """The protocol for a port of its own: OddASR's clients use several paths."""
    return application_at_every_path(main, talk, "OddASR's live protocol")


class _Conversation:
    """One connection: sessions, one after another."""

    def __init__(self, socket: Socket, service: SpeechService, keyring: KeyRing) -> None:
        self._socket = socket
        self._inbox = Inbox(socket)
        self._service = service
        self._keyring = keyring
        self._command = Command()  # the latest that was to begin a session
        self._session: Session | None = None

    async def run(self) -> None:
        """Everything, to the end of the last session.

        Raises:
            SpeechError: the client has yet to be told.
        """
        while await self._next_start() and not self._socket.gone:
            caller = self._caller()
            self._check_id()
            self._session = Session(self._socket, self._inbox, self._service, caller, self._command)
            await self._session.run()
            self._socket.rest()
            if not self._session.stopped:
                break
        await self._socket.close(NORMAL)

    async def fail(self, error: SpeechError) -> None:
        """Tell the client why there will be no (more) text, and end the connection."""
        cause = error.__cause__
        _logger.log(logging.WARNING if cause else logging.INFO, "OddASR: %s", error.code, exc_info=cause)
        await self._socket.send(wire.failed(self._command, self._session.id if self._session else "", error))
        await self._socket.close(close_code(error), close_reason(error))

    async def aclose(self) -> None:
        """Receive no more."""
        await self._inbox.aclose()

    async def _next_start(self) -> bool:
        """The next start, as `_command`; False where none will come.

        Raises:
            UploadTooSlow: the client has not begun in time.
            InvalidParameter: it says something else.
        """
        until = asyncio.get_running_loop().time() + (REST_SECONDS if self._session else START_SECONDS)
        while True:
            try:
                message = await self._inbox.next(max(0.0, until - asyncio.get_running_loop().time()))
            except TimeoutError:
                if self._session:
                    return False
                raise UploadTooSlow(f"No session was started within {START_SECONDS:g} s.") from None
            if message is None:
                return False
            self._command = Command()
            try:
                if isinstance(message, str):
                    self._command = read_command(message)
                self._command.check_start()
                return True
            except InvalidParameter as error:
                if not self._session:
                    raise
                await self._pass_over(message, error)

    async def _pass_over(self, message: str | bytes, error: InvalidParameter) -> None:
        """What comes after a session and begins none: sound, or a second stop, was on its way when it ended."""
        if isinstance(message, str) and not self._command.stops:
            await self._socket.send(wire.failed(self._command, "", error))

    def _caller(self) -> Caller:
        """Who asks, by the key in the address, a header or the start. Raises AuthenticationFailed."""
        if (caller := self._socket.caller) is not None:
            return caller
        token = self._command.fields.get("token")
        key = token.encode(errors="replace") if isinstance(token, str) else b""
        if not self._keyring.allows(key.decode()):
            raise AuthenticationFailed('A valid API key is needed: "token" in the start, or ?token=<key>.')
        return Caller(self._keyring.owner([(b"x-nls-token", key)]), None, *self._socket.origin)

    def _check_id(self) -> None:
        """A session ends with its connection: only this one's can be continued. Raises UnknownSession."""
        known = {"", self._session.id} if self._session else {""}
        if self._command.task_id not in known:
            raise UnknownSession("There is no such session (any more). Start without a task_id.", param="task_id")
