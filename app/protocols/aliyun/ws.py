"""Alibaba Cloud's speech protocol (NLS) over a WebSocket: the routes, and a connection's way from task to task."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, WebSocket

from app.protocols.aliyun.dialects import CLOUD, FUNASR_API, Dialect
from app.protocols.aliyun.task import ClientGone, Task
from app.protocols.aliyun.wire import Command, Status, TaskFailure, failed, read_command, task_id_of
from app.protocols.sockets import INTERNAL_ERROR, NORMAL, Socket
from app.service.service import SpeechService

router = APIRouter()

BETWEEN_SECONDS = 60.0
"""How long a connection may have no task."""
_INTRODUCTION_SECONDS = 1.0
"""A client that is turned away is told so with the id of its task, if it says it soon."""
_logger = logging.getLogger(__name__)


@router.websocket("/ws/v1")
async def cloud(websocket: WebSocket) -> None:
    """As the real service has it."""
    await _converse(websocket, CLOUD)


@router.websocket("/ws/v1/asr")
@router.websocket("/ws/v1/asr/funasr")
async def funasr_api(websocket: WebSocket) -> None:
    """As funasr-api has it."""
    await _converse(websocket, FUNASR_API)


async def _converse(websocket: WebSocket, dialect: Dialect) -> None:
    socket = Socket(websocket)
    await socket.accept()
    conversation = Conversation(socket, websocket.app.state.service, dialect)
    try:
        await conversation.run()
    except ClientGone:
        pass
    except TaskFailure as failure:
        await conversation.fail(failure)
    except Exception:  # a connection ends here, and its client must not wait for ever
        _logger.exception("a connection failed")
        await conversation.fail(TaskFailure(Status.SERVER_ERROR, "The server failed; its log says why."))
        await socket.close(INTERNAL_ERROR)
    await socket.close(NORMAL)


class Conversation:
    """One connection: tasks, one after another."""

    def __init__(self, socket: Socket, service: SpeechService, dialect: Dialect) -> None:
        self._socket = socket
        self._service = service
        self._dialect = dialect
        self._task_id = ""  # of the latest message
        self._task: Task | None = None

    async def run(self) -> None:
        """Everything, to the end of the last task.

        Raises:
            TaskFailure: the client has yet to be told.
            ClientGone: it is not there any more.
        """
        caller = self._socket.caller
        if caller is None:
            await self._turn_away()
            return
        while (command := await self._next_start()) is not None:
            self._task = Task(self._socket, self._service, caller, self._dialect, command)
            self._task_id = self._task.id
            await self._task.run()
            self._socket.rest()
            if self._dialect.closes:
                return

    async def fail(self, failure: TaskFailure) -> None:
        """Tell the client, in the name of its latest message."""
        cause = failure.__cause__ and failure.__cause__.__cause__  # of the error that is told as this failure
        level = logging.WARNING if cause else logging.INFO
        _logger.log(level, "a task failed: %d %s", failure.status.value, failure.status.name, exc_info=cause)
        await self._socket.send(failed(self._task_id, failure))

    async def _turn_away(self) -> None:
        try:
            async with asyncio.timeout(_INTRODUCTION_SECONDS):
                message = await self._socket.receive()
        except TimeoutError:
            message = b""
        if isinstance(message, str):
            self._task_id = task_id_of(message)
        raise TaskFailure(Status.ACCESS_DENIED, "The token is missing or invalid.")

    async def _next_start(self) -> Command | None:
        """The next start; None once a connection that had its tasks is used no more."""
        until = asyncio.get_running_loop().time() + BETWEEN_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(until):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._task:
                    return None
                raise TaskFailure(Status.IDLE_TIMEOUT, f"No task was started within {BETWEEN_SECONDS:g} s.") from None
            if message is None:
                raise ClientGone
            try:
                command = self._start_in(message)
            except TaskFailure as failure:
                if not self._dialect.forgiving:
                    raise
                await self.fail(failure)
                continue
            if command is not None:
                return command

    def _start_in(self, message: str | bytes) -> Command | None:
        """The start in a message; None where it may be passed over."""
        if isinstance(message, bytes):
            command = None
        else:
            command = self._command_in(message)
            if command.name == command.speech.start:
                return command
            if command.name in command.speech.controls:
                return None
        # What was on its way when a task ended by itself is no mistake.
        if self._task and (command is None or command.task_id in {"", self._task.id}):
            return None
        raise TaskFailure(
            Status.TASK_STATE_ERROR, "Connection not started: say StartTranscription or StartRecognition first."
        )

    def _command_in(self, message: str) -> Command:
        self._task_id = task_id_of(message)
        return read_command(message)
