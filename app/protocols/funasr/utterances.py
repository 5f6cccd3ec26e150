"""What a client says from its first sound to its end message: kept for later, or heard at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeAlias

from app.audio.declared import DeclaredSound
from app.audio.storing import not_stored, room_for_recording
from app.domain.errors import AudioTooShort, SpeechError, UploadTooLarge, UploadTooSlow
from app.domain.options import LiveOptions
from app.domain.pace import GRACE_SECONDS, LEAST_SPEED
from app.protocols.forms import too_large
from app.protocols.funasr.narration import Narration
from app.protocols.funasr.opening import Opening, options_of
from app.protocols.funasr.wire import Message, result, stamped
from app.protocols.labels import Label, numbered
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

Tell: TypeAlias = Callable[[Message], Awaitable[None]]

_HEAD_BYTES = 12
"""As much as tells a RIFF header from samples."""
_NOT_STORED = "The sound could not be stored."
_LARGE_BYTES = 256 * 1024
"""More than this is written in a thread: the loop has others to serve."""


class Utterance(Protocol):
    """One stretch of sound and what is told of it. All methods but `aclose` raise SpeechError."""

    @property
    def working(self) -> asyncio.Task[None] | None:
        """What goes on while sound arrives, and fails when it does."""
        ...

    async def feed(self, data: bytes) -> None:
        """More sound, cut anywhere."""
        ...

    async def finish(self) -> None:
        """No more sound: tell everything, the last message included."""
        ...

    async def aclose(self) -> None:
        """Leave nothing, wherever it stands."""
        ...


class Kept:
    """Sound that is recognised when all of it is there, like an upload."""

    def __init__(self, opening: Opening, service: SpeechService, caller: Caller, tell: Tell) -> None:
        """Takes a place among the requests.

        Raises:
            Overloaded: there is none.
            EngineFailure: the disk takes nothing.
        """
        self._opening = opening
        self._service = service
        self._owner = caller.key
        self._tell = tell
        self._resources = AsyncExitStack()
        self._ticket = self._resources.enter_context(service.admit(caller))
        self._began = monotonic()
        self._head = b""
        self._size = 0
        try:
            room = room_for_recording(service.settings.temp_dir, _NOT_STORED)
            with self._ticket.worked_on():
                self._file = self._resources.enter_context(room)
        except SpeechError:
            self._ticket.leave()
            raise
        self.working: asyncio.Task[None] | None = asyncio.create_task(self._ticket.failed())

    async def feed(self, data: bytes) -> None:
        """Put it into the file.

        Raises:
            UploadTooLarge: it is more than MAX_AUDIO_SIZE.
            UploadTooSlow: it arrives so slowly that its sender only holds a place.
            EngineFailure: the disk does not take it.
        """
        self._size += len(data)
        limit = self._service.settings.max_audio_size
        if self._size > limit:
            raise UploadTooLarge(too_large(limit), param=None)
        elapsed = monotonic() - self._began
        if elapsed > GRACE_SECONDS and self._size < LEAST_SPEED * elapsed:
            raise UploadTooSlow(f"The sound is slower than {LEAST_SPEED} bytes a second.")
        if len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        with self._ticket.worked_on():
            await self._write(data)

    async def finish(self) -> None:
        """Recognise it, and tell the one result."""
        with self._ticket.worked_on():
            await self._flush()
        model, options = await options_of(self._opening, self._service, self._owner)
        declared = declared_sound(self._opening, self._head)
        path, name = Path(self._file.name), self._opening.wav_name
        try:
            transcript = await self._service.transcribe(path, model.id, options, self._ticket, declared)
        except AudioTooShort:  # a button that was touched by accident
            await self._tell(result("offline", "", name, final=True))
            return
        message = result("offline", transcript.text, name, final=True)
        # In a thread: hours of words take a while to draw.
        await self._tell(await asyncio.to_thread(stamped, message, transcript.segments, label_of(self._service)))

    async def aclose(self) -> None:
        """Remove the file, free the place."""
        if self.working is not None:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)
        await self._resources.aclose()

    async def _write(self, data: bytes) -> None:
        try:
            if len(data) > _LARGE_BYTES:
                await asyncio.to_thread(self._file.write, data)
            else:
                self._file.write(data)
        except OSError as error:
            raise not_stored(error, _NOT_STORED) from error

    async def _flush(self) -> None:
        try:
            await asyncio.to_thread(self._file.flush)
        except OSError as error:
            raise not_stored(error, _NOT_STORED) from error


class Live:
    """Sound that is heard as it arrives."""

    working: asyncio.Task[None] | None = None

    def __init__(self, opening: Opening, service: SpeechService, caller: Caller, tell: Tell) -> None:
        self._opening = opening
        self._service = service
        self._caller = caller
        self._tell = tell
        self._resources = AsyncExitStack()
        mode = "online" if opening.mode == "online" else "2pass"
        self._narration = Narration(mode, opening.wav_name, label_of(service))
        self._head = b""
        self._stream: LiveStream | None = None

    async def feed(self, data: bytes) -> None:
        """Have it heard; waits while much is unheard.

        Raises:
            SpeechError: the stream cannot be had, or has failed.
        """
        if self._stream is None:
            self._head += data
            if len(self._head) < _HEAD_BYTES:
                return
            data = self._head
            self._stream = await self._listen()
        try:
            await self._stream.feed(data)
        except SpeechError:
            if self.working is not None:
                await self.working  # tells what was heard before, and raises the same
            raise

    async def finish(self) -> None:
        """Hear what is left, and tell it."""
        if self._stream is None:
            self._stream = await self._listen()
            await self._stream.feed(self._head)
        for message in self._narration.end():
            await self._tell(message)
        await self._stream.finish()
        if self.working is not None:
            await self.working

    async def aclose(self) -> None:
        """End the stream."""
        if self.working is not None:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)
        await self._resources.aclose()

    async def _listen(self) -> LiveStream:
        model, options = await options_of(self._opening, self._service, self._caller.key)
        declared = declared_sound(self._opening, self._head)
        longest = self._service.settings.max_utterance_seconds
        live = LiveOptions(longest_seconds=longest, near_field=self._opening.near_field)
        listening = self._service.listen(model.id, options, live, self._caller, declared)
        stream = await self._resources.enter_async_context(listening)
        self.working = asyncio.create_task(self._narrate(stream))
        return stream

    async def _narrate(self, stream: LiveStream) -> None:
        try:
            async for event in stream.events():
                for message in self._narration.tell(event):
                    await self._tell(message)
        except SpeechError:
            for message in self._narration.failed():
                await self._tell(message)
            raise


def label_of(service: SpeechService) -> Label:
    """What speakers are called."""
    return numbered(service.settings.speaker_labels or "en")


def declared_sound(opening: Opening, head: bytes) -> DeclaredSound | None:
    """What the bytes are that begin with `head`: None for a file in some format, which is what they look like where
    they were announced as samples and begin with a header."""
    if not opening.bare or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return None
    return DeclaredSound("s16le", opening.rate)
