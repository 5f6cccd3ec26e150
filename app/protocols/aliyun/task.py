"""One task: from its start to its last message, on a connection that may have others before and after it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import uuid
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Never

from app.domain.errors import SpeechError, UndecodableAudio
from app.domain.events import Final, SpeechStarted
from app.protocols.aliyun.dialects import Dialect
from app.protocols.aliyun.errors import failure_of
from app.protocols.aliyun.parameters import Start, read_start
from app.protocols.aliyun.rendering import Message, Recognition, Rendering, Transcription
from app.protocols.aliyun.wire import (
    TRANSCRIBER,
    Command,
    Json,
    Status,
    TaskFailure,
    event,
    failed,
    read_command,
    stop_of,
)
from app.protocols.labels import numbered
from app.protocols.sockets import Socket
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

_RARE = frozenset({"opu", "speex", "amr"})
"""Formats of which it is likelier that this server cannot read them than that they are broken."""
_GRACE_SECONDS = 1.0
"""By how much hearing may lag behind the clock that measures silence at the start."""
_HARMLESS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_logger = logging.getLogger(__name__)


class ClientGone(Exception):  # noqa: N818 - no error, but the end
    """Nobody is there any more."""


class Task:
    """One task of a client's."""

    def __init__(
        self, socket: Socket, service: SpeechService, caller: Caller, dialect: Dialect, command: Command
    ) -> None:
        self.id = command.task_id or uuid.uuid4().hex
        self._socket = socket
        self._service = service
        self._caller = caller
        self._dialect = dialect
        self._command = command
        self._speech = command.speech
        self._stopped = False

    @property
    def log_name(self) -> str:
        """The task's id where it is fit for a log."""
        return self.id if _HARMLESS.fullmatch(self.id) else "-"

    async def run(self) -> None:
        """Everything, to the message that says that all went well.

        Raises:
            TaskFailure: it did not; the client has yet to be told.
            ClientGone: it is not there any more.
        """
        try:
            start = await read_start(self._command, self._dialect, self._service, self._caller.key)
            await self._run(start)
        except UndecodableAudio as error:
            rare = str(self._command.payload.get("format")).lower() in _RARE
            raise TaskFailure(Status.UNSUPPORTED_FORMAT, error.message) if rare else failure_of(error) from error
        except SpeechError as error:
            raise failure_of(error) from error

    async def _run(self, start: Start) -> None:
        rendering = self._rendering(start)
        patience = Patience(self._dialect.idle_seconds, start.start_silence)
        declared = start.sound.declared
        async with self._service.listen(start.model.id, start.options, start.live, self._caller, declared) as stream:
            _logger.info("task %s began: %s, %s", self.log_name, self._speech.namespace, start.model.id)
            await self._send((self._speech.started, _started(self._command, start)))
            self._socket.begin(stop_of(self._speech, self.id))
            sound = self._sound(start, patience)
            last = await _together(self._tell(stream, rendering, patience), self._hear(stream, sound))
        # What a client says once it has heard this is of its next task: by now nobody listens for this one.
        await self._send(last)
        _logger.info("task %s completed with %d sentences", self.log_name, rendering.sentences)

    def _rendering(self, start: Start) -> Rendering:
        if self._speech is TRANSCRIBER:
            label = numbered(self._service.settings.speaker_labels or "en")
            return Transcription(intermediate=start.live.partials, words=start.words, label=label)
        return Recognition(intermediate=start.live.partials, ends_itself=start.ends_itself)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _tell(self, stream: LiveStream, rendering: Rendering, patience: Patience) -> Message:
        """Everything but the last message, which is returned."""
        try:
            async for said in stream.events():
                if isinstance(said, SpeechStarted):
                    patience.speech()
                elif isinstance(said, Final) and not rendering.sentences and not said.text:
                    patience.noise()
                for message in rendering.messages(said):
                    if rendering.over:
                        return message
                    await self._send(message)
        except SpeechError:
            for message in rendering.failed():
                await self._send(message)
            raise
        raise AssertionError("a stream ends with Closed")

    async def _send(self, message: Message) -> None:
        name, payload = message
        await self._socket.send(event(self._speech, name, self.id, payload))

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _hear(self, stream: LiveStream, sound: AsyncGenerator[bytes, None]) -> Never:
        """All sound, then whatever else the client says."""
        # A stream that fails says so in its events, too, after all that was heard before.
        with contextlib.suppress(SpeechError):
            async with aclosing(sound):
                async for data in sound:
                    await stream.feed(data)
            await stream.finish()
        while True:
            message = await self._received()
            if isinstance(message, str):
                await self._obey(message)

    async def _sound(self, start: Start, patience: Patience) -> AsyncGenerator[bytes, None]:
        """Sound as it arrives, until the client stops, or nobody speaks for longer than it wanted to wait."""
        while not self._stopped:
            message = await self._next(patience)
            if message is None:
                break
            if isinstance(message, str):
                await self._obey(message)
                continue
            yield await start.sound.take(message)
            patience.sound()  # counted from here: it may have waited to be heard

    async def _next(self, patience: Patience) -> str | bytes | None:
        """The next message; None where nobody spoke for longer than the client wanted to wait."""
        while True:
            try:
                async with asyncio.timeout_at(patience.deadline):
                    return await self._received()
            except TimeoutError:
                if patience.is_idle:
                    told = f"No sound arrived for {self._dialect.idle_seconds:g} s."
                    raise TaskFailure(Status.IDLE_TIMEOUT, told) from None
                if patience.is_silent:
                    return None

    async def _received(self) -> str | bytes:
        message = await self._socket.receive()
        if message is None:
            raise ClientGone
        return message

    async def _obey(self, text: str) -> None:
        """A text message in the middle of the task."""
        try:
            command = read_command(text)
            self._check(command)
        except TaskFailure as failure:
            if not self._dialect.forgiving:
                raise
            await self._socket.send(failed(self.id, failure))
        else:
            self._stopped = command.name == self._speech.stop

    def _check(self, command: Command) -> None:
        if command.speech is not self._speech:
            raise TaskFailure(Status.TASK_STATE_ERROR, f"The task is {self._speech.namespace}'s.")
        if command.name == self._speech.start:
            raise TaskFailure(Status.TASK_STATE_ERROR, "Connection already started.")
        if command.name == self._speech.stop and command.task_id not in {"", self.id}:
            raise TaskFailure(Status.TASK_STATE_ERROR, "Task ID not match.")


class Patience:
    """How long a task waits for sound, and for speech in it."""

    def __init__(self, idle_seconds: float, start_silence: float | None) -> None:
        self._now = asyncio.get_running_loop().time
        self._idle_seconds = idle_seconds
        self._start_silence = math.inf if start_silence is None else start_silence + _GRACE_SECONDS
        self._sound_at = self._now()
        self._silent_since: float | None = None
        self._spoken = False

    def sound(self) -> None:
        """Some arrived."""
        self._sound_at = self._now()
        if self._silent_since is None:
            self._silent_since = self._sound_at

    def speech(self) -> None:
        """Somebody began to speak."""
        self._spoken = True

    def noise(self) -> None:
        """It was none. Silence counts from here."""
        self._spoken, self._silent_since = False, self._now()

    @property
    def deadline(self) -> float:
        """When to look again, by the event loop's clock."""
        return min(self._sound_at + self._idle_seconds, self._silent_at)

    @property
    def is_idle(self) -> bool:
        """Whether sound was waited for too long."""
        return self._now() >= self._sound_at + self._idle_seconds

    @property
    def is_silent(self) -> bool:
        """Whether speech was waited for too long."""
        return self._now() >= self._silent_at

    @property
    def _silent_at(self) -> float:
        return math.inf if self._spoken or self._silent_since is None else self._silent_since + self._start_silence


def _started(command: Command, start: Start) -> Json | None:
    payload: Json = {"session_id": start.session_id or uuid.uuid4().hex} if command.speech is TRANSCRIBER else {}
    if start.unknown:
        payload["ignored"] = list(start.unknown)
    return payload or None


async def _together(telling: Coroutine[None, None, Message], hearing: Coroutine[None, None, Never]) -> Message:
    """What telling ends with. Raises what ended either before."""
    tasks = asyncio.create_task(telling), asyncio.create_task(hearing)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
