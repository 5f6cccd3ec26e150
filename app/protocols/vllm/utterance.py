"""What a client says between two ends, and the text of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from app.audio.declared import DeclaredSound
from app.domain.errors import SpeechError
from app.domain.events import Final, Partial
from app.domain.options import LiveOptions
from app.protocols.sockets import Socket
from app.protocols.vllm import wire
from app.protocols.vllm.growing import GrowingText
from app.protocols.vllm.opening import Opening
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

_SOUND = DeclaredSound("s16le", 16_000)


class Utterance:
    """One stream. All methods but `aclose` raise SpeechError."""

    def __init__(self, socket: Socket, stream: LiveStream, resources: AsyncExitStack) -> None:
        """`resources` are the stream's."""
        self._socket = socket
        self._stream = stream
        self._resources = resources
        self._text = GrowingText()
        self._tokens = 0
        self.working = asyncio.create_task(self._tell())

    @classmethod
    async def begin(cls, socket: Socket, service: SpeechService, caller: Caller, opening: Opening) -> Utterance:
        """Take a place among the live streams, and tell what is heard as soon as it is."""
        async with AsyncExitStack() as resources:
            live = LiveOptions(longest_seconds=service.settings.max_utterance_seconds)
            listening = service.listen(opening.model.id, opening.options, live, caller, _SOUND)
            stream = await resources.enter_async_context(listening)
            return cls(socket, stream, resources.pop_all())

    async def feed(self, data: bytes) -> None:
        """Have more sound heard; waits while much is unheard."""
        try:
            await self._stream.feed(data)
        except SpeechError:
            await self.working  # tells what was heard before, and raises the same
            raise

    async def finish(self) -> None:
        """Hear what is left, and tell it."""
        await self._stream.finish()
        await self.working
        await self._socket.send(wire.done(self._text.text, self._tokens))

    async def aclose(self) -> None:
        """End the stream."""
        self.working.cancel()
        await asyncio.gather(self.working, return_exceptions=True)
        await self._resources.aclose()

    async def _tell(self) -> None:
        async for event in self._stream.events():
            match event:
                case Partial():
                    more = self._text.guessed(event)
                case Final():
                    self._tokens += sum(len(segment.tokens) for segment in event.segments)
                    more = self._text.ended(event)
                case _:
                    more = ""
            if more:
                await self._socket.send(wire.delta(more))
