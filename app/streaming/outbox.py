"""What a stream has to say and nobody has read yet: bounded, because some clients listen to nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from app.domain.errors import SlowReader, SpeechError
from app.domain.events import Closed, Partial, StreamEvent

_MOST = 512
"""Events. An utterance has three besides partials, so that this is some minutes of talk."""


class Outbox:
    """Events in order, for one reader. Of partials in a row only the newest is kept."""

    def __init__(self) -> None:
        self._events: deque[StreamEvent] = deque()
        self._failure: SpeechError | None = None
        self._news = asyncio.Event()

    @property
    def failure(self) -> SpeechError | None:
        """What went wrong, if something did."""
        return self._failure

    def put(self, event: StreamEvent) -> None:
        """Say something. After a failure nothing is said."""
        if self._failure is not None:
            return
        if isinstance(event, Partial) and self._events and isinstance(self._events[-1], Partial):
            self._events.pop()
        self._events.append(event)
        if len(self._events) > _MOST:
            self.fail(SlowReader("What was recognised is not read. Read the answers, or ask for fewer."))
        self._news.set()

    def fail(self, error: SpeechError) -> None:
        """The stream ends here, after what was said before. The first failure counts."""
        self._failure = self._failure or error
        self._news.set()

    async def read(self) -> AsyncGenerator[StreamEvent, None]:
        """Everything, up to and with Closed.

        Raises:
            SpeechError: the failure.
        """
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if isinstance(event, Closed):
                    return
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
