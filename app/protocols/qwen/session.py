"""One session: from its `started` to its `final`."""

from __future__ import annotations

import asyncio
import logging
import re

from app.domain.errors import RequestError, SpeechError, UploadTooSlow
from app.domain.events import Closed
from app.protocols.inbox import Inbox
from app.protocols.labels import numbered
from app.protocols.qwen.narration import Frame, Manner, Narration
from app.protocols.qwen.parameters import Start
from app.protocols.qwen.wire import InvalidState, failure, read_command
from app.protocols.sockets import Socket
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

IDLE_SECONDS = 60.0
"""How long a client may send no sound: a stream's place is not kept for somebody who does not speak."""
_FAREWELL = '{"type": "stop"}'
_HARMLESS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_logger = logging.getLogger(__name__)


class Session:
    """One stretch of sound and what is told of it."""

    def __init__(self, socket: Socket, inbox: Inbox, service: SpeechService, caller: Caller, task_id: str) -> None:
        self._socket = socket
        self._inbox = inbox
        self._service = service
        self._caller = caller
        self._task_id = task_id
        self._last: Frame | None = None

    async def run(self, start: Start) -> None:
        """Everything, to `final`, or until the client leaves.

        Raises:
            SpeechError: the stream cannot be had, or has failed, or its client says nothing any more.
        """
        options, live = start.options, start.live
        narration = Narration(self._task_id, self._manner(start))
        async with self._service.listen(start.model.id, options, live, self._caller, start.sound) as stream:
            _logger.info("task %s began: %s", self._log_name, start.model.id)
            await self._socket.send(self._started(start))
            self._socket.begin(_FAREWELL)
            telling = asyncio.create_task(self._tell(stream, narration))
            silent: UploadTooSlow | None = None
            try:
                try:
                    if not await self._hear(stream, telling):
                        return
                except UploadTooSlow as error:
                    silent = error
                narration.stop()
                await self._inbox.while_here(self._finish(stream, telling))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        if self._last is not None and (
            silent is None or narration.segments
        ):  # else the client has left, or said nothing
            _logger.info("task %s completed with %d segments", self._log_name, narration.segments)
            await self._socket.send(self._last)
        if silent is not None:
            raise silent

    @property
    def _log_name(self) -> str:
        """The task's id where it is fit for a log."""
        return self._task_id if _HARMLESS.fullmatch(self._task_id) else "-"

    def _manner(self, start: Start) -> Manner:
        silence = start.live.silence_seconds
        assert silence is not None  # noqa: S101 - read_start has it from a number
        label = numbered(self._service.settings.speaker_labels or "en")
        return Manner(silence, start.chunk_seconds, start.words, start.options.language, label)

    def _started(self, start: Start) -> Frame:
        frame: dict[str, object] = {"type": "started", "task_id": self._task_id, "params": start.params}
        if start.unknown:
            frame["ignored"] = list(start.unknown)
        return frame

    async def _tell(self, stream: LiveStream, narration: Narration) -> None:
        """Everything but the last message, which waits until the stream's place is free."""
        try:
            async for event in stream.events():
                frames = narration.tell(event)
                if isinstance(event, Closed):
                    self._last = frames.pop()
                for frame in frames:
                    await self._socket.send(frame)
        except SpeechError:
            for frame in narration.failed():
                await self._socket.send(frame)
            raise

    async def _hear(self, stream: LiveStream, telling: asyncio.Task[None]) -> bool:
        """All sound; whether the client has said that there is no more, and not just left.

        Raises:
            UploadTooSlow: no more sound arrives; what there was is to be told.
            SpeechError: the stream has failed.
        """
        now = asyncio.get_running_loop().time
        sound_at = now()
        while True:
            try:
                message = await self._inbox.next(max(0.0, sound_at + IDLE_SECONDS - now()), telling)
            except TimeoutError:
                raise UploadTooSlow(f"No sound arrived for {IDLE_SECONDS:g} s, so the session is over.") from None
            if message is None or self._socket.gone:
                return False
            if isinstance(message, str):
                if await self._says_stop(message):
                    return True
                continue
            try:
                await stream.feed(message)
            except SpeechError:
                # It says so in its events, too, after all that was heard before.
                await telling
                raise
            if message:
                sound_at = now()  # counted from here: it may have waited to be heard

    async def _says_stop(self, text: str) -> bool:
        """A text message in the middle; one that makes no sense is answered, and the session goes on."""
        try:
            if read_command(text).type == "stop":
                return True
            raise InvalidState("The session has started already. Another one needs another connection.")
        except RequestError as error:
            await self._socket.send(failure(error, self._task_id))
            return False

    async def _finish(self, stream: LiveStream, telling: asyncio.Task[None]) -> None:
        await stream.finish()
        await telling
