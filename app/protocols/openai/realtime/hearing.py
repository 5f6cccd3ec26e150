"""One live stream of a session, from its first sound until everything in it was told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

from app.domain.errors import SpeechError
from app.protocols.openai.realtime.items import Conversation
from app.protocols.openai.realtime.narration import Narration
from app.protocols.openai.realtime.plan import Plan
from app.protocols.openai.realtime.wire import Message
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream

Tell: TypeAlias = Callable[[Message], Awaitable[None]]

_LAST_WORDS_SECONDS = 1.0
"""A stream that has failed ends at once; this is for what its reader has not told yet."""


class Hearing:
    """What is heard under one plan. Made by `open_hearing`; all methods but `aclose` raise SpeechError."""

    def __init__(self, stream: LiveStream, narration: Narration, tell: Tell, resources: AsyncExitStack) -> None:
        self._stream = stream
        self._narration = narration
        self._tell = tell
        self._resources = resources
        self.working = asyncio.create_task(self._narrate())
        """Tells what is said; fails when the stream does."""

    async def feed(self, data: bytes) -> None:
        """More sound; waits while much is unheard."""
        await self._stream.feed(data)

    async def commit(self, client_event: str | None) -> None:
        """The client's commit, in a message of that name."""
        self._narration.expect_commit(client_event)
        await self._stream.commit()

    async def clear(self) -> None:
        """The client's clear."""
        await self._stream.clear()

    async def finish(self) -> None:
        """Hear what is left, and tell it."""
        await self._stream.finish()
        await self.working

    async def fail(self, failure: SpeechError) -> None:
        """Tell which items will have no text, after what there was to tell before."""
        await asyncio.wait({self.working}, timeout=_LAST_WORDS_SECONDS)
        self.working.cancel()
        await asyncio.gather(self.working, return_exceptions=True)
        for message in self._narration.failed(failure):
            await self._tell(message)

    async def aclose(self) -> None:
        """End the stream, wherever it stands."""
        self.working.cancel()
        await asyncio.gather(self.working, return_exceptions=True)
        await self._resources.aclose()

    async def _narrate(self) -> None:
        async for event in self._stream.events():
            for message in self._narration.tell(event):
                await self._tell(message)


async def open_hearing(
    plan: Plan, conversation: Conversation, service: SpeechService, caller: Caller, tell: Tell
) -> Hearing:
    """A stream for `plan`.

    Raises:
        SpeechError: it cannot be had.
    """
    resources = AsyncExitStack()
    listening = service.listen(plan.model.id, plan.options, plan.live, caller, plan.sound)
    stream = await resources.enter_async_context(listening)
    return Hearing(stream, Narration(conversation, plan), tell, resources)
