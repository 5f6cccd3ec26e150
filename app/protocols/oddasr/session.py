"""One session: from its acknowledgement to its last message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from app.domain.errors import InvalidParameter, SpeechError, UnsupportedFeature
from app.protocols.inbox import Inbox
from app.protocols.oddasr.narration import Narration, odd_label
from app.protocols.oddasr.opening import read_start
from app.protocols.oddasr.wire import STOP, Command, acknowledged, failed, read_command
from app.protocols.sockets import Socket
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

FIRST_SECONDS = 60.0
"""How long the first sound may take: somebody may have to allow a microphone."""
FLUSH_SECONDS = 1.5
"""Without sound for so long, what was said is over."""
_FAREWELL = f'{{"name": "{STOP}"}}'
_logger = logging.getLogger(__name__)


class Session:
    """One session of a client's. `stopped` is whether the client ended it; otherwise it sent no more sound."""

    def __init__(self, socket: Socket, inbox: Inbox, service: SpeechService, caller: Caller, command: Command) -> None:
        self.id = command.task_id or str(uuid.uuid4())
        self.stopped = False
        self._socket = socket
        self._inbox = inbox
        self._service = service
        self._caller = caller
        self._command = command

    async def run(self) -> None:
        """Everything, to the last message, or until the client has gone.

        Raises:
            SpeechError: the client has yet to be told.
        """
        start = await read_start(self._command.fields, self._service, self._caller.key)
        listening = self._service.listen(start.model.id, start.options, start.live, self._caller, start.declared)
        async with listening as stream:
            _logger.info("OddASR: a session began, with %s", start.model.id)
            await self._socket.send(acknowledged(self._command, self.id, start.unknown))
            self._socket.begin(_FAREWELL)
            label = odd_label(self._service.settings.speaker_labels or "zh")
            narration = Narration(self.id, label, words=start.words)
            telling = asyncio.create_task(self._tell(stream, narration))
            try:
                # A stream that fails says so in its events, too, after all that was heard before.
                with contextlib.suppress(SpeechError):
                    if not await self._hear(stream, telling):
                        return
                    await stream.finish()
                await self._inbox.while_here(_finished(telling))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        _logger.info("OddASR: a session ended with %d sentences", narration.sentences)

    async def _tell(self, stream: LiveStream, narration: Narration) -> None:
        async for event in stream.events():
            for message in narration.messages(event):
                await self._socket.send(message)

    async def _hear(self, stream: LiveStream, telling: asyncio.Task[None]) -> bool:
        """All sound, up to the client's stop or its silence. False: the client has gone."""
        silence = _Silence(self._service.settings.oddasr_idle_seconds)
        while not self._socket.gone:
            try:
                message = await self._inbox.next(silence.left, telling)
            except TimeoutError:
                if silence.is_over:
                    return True
                with contextlib.suppress(UnsupportedFeature):  # of compressed sound only the end can be told
                    await stream.commit()
                silence.flushed()
                continue
            if message is None:
                return False
            if isinstance(message, bytes):
                await stream.feed(message)
                silence.broken()  # counted from here: the sound may have waited to be heard
            else:
                await self._obey(message)
                if self.stopped:
                    return True
        return False

    async def _obey(self, text: str) -> None:
        """A text message within the session. One that makes no sense is answered, and ends nothing."""
        try:
            command = read_command(text)
        except SpeechError as error:
            await self._socket.send(failed(Command(), self.id, error))
            return
        self.stopped = command.stops
        if not self.stopped:
            told = "The session goes on. What it knows is sound, and STOP_SESSION_REQ or StopTranscription."
            await self._socket.send(failed(command, self.id, InvalidParameter(told)))


class _Silence:
    """How long no sound has arrived. Without any for `end_seconds`, the session is over: OddASR's own client never
    says that it is."""

    def __init__(self, end_seconds: float) -> None:
        self._end_seconds = end_seconds
        self._now = asyncio.get_running_loop().time
        self._since = self._now()
        self._began = self._flushed = False

    def broken(self) -> None:
        """Some arrived."""
        self._since, self._began, self._flushed = self._now(), True, False

    def flushed(self) -> None:
        """What arrived before was declared over."""
        self._flushed = True

    @property
    def left(self) -> float:
        """Seconds until there is something to be done about it."""
        limit = FIRST_SECONDS if not self._began else self._end_seconds
        if self._began and not self._flushed:
            limit = min(limit, FLUSH_SECONDS)
        return max(0.0, self._since + limit - self._now())

    @property
    def is_over(self) -> bool:
        """Whether there will be none, now that nothing is left."""
        return self._flushed or not self._began


async def _finished(task: asyncio.Task[None]) -> None:
    await task
