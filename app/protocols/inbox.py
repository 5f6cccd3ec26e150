"""A client's messages in order, and noticing that it leaves while its recording is worked on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine

from app.protocols.sockets import Farewell, Socket

_AHEAD, _AHEAD_CHARACTERS = 16, 1024 * 1024
"""Text messages that are read while work goes on, and how long they may be together, but for the last: who reads no
more does not notice that the client leaves."""


class Inbox:
    """The messages of one connection; one task uses it."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._receiving: asyncio.Task[str | bytes | None] | None = None
        self._ahead: deque[str | bytes | None] = deque()

    async def next(self, limit: float, beside: asyncio.Task[None] | None = None) -> str | bytes | None:
        """The next message; None when the client has gone. A farewell to what has ended by itself meanwhile is none: it
        would begin something, to be ended again.

        Raises:
            TimeoutError: nothing came for `limit` seconds.
            Exception: what `beside` failed with before a message came.
        """
        while True:
            message = await self._next(limit, beside)
            if not isinstance(message, Farewell) or self._socket.busy:
                return message

    async def _next(self, limit: float, beside: asyncio.Task[None] | None) -> str | bytes | None:
        if self._ahead:
            return self._ahead.popleft()
        if beside is not None and beside.done():
            beside.result()  # before anything is waited for
        async with asyncio.timeout(limit):
            receiving = self._receive()
            while not receiving.done():
                if beside is None or beside.done():
                    await asyncio.wait({receiving})
                else:
                    await asyncio.wait({receiving, beside}, return_when=asyncio.FIRST_COMPLETED)
                if beside is not None and beside.done() and not receiving.done():
                    beside.result()
        return self._received()

    async def while_here(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, or as much of it as there is time for until the client leaves. Raises what it raises."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                awaited = {task, self._receive()} if self._reads_ahead else {task}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if self._receiving is not None and self._receiving.done():
                    self._ahead.append(message := self._received())
                    if message is None:
                        return
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def _reads_ahead(self) -> bool:
        if any(isinstance(message, bytes) for message in self._ahead) or len(self._ahead) >= _AHEAD:
            return False
        return sum(map(len, filter(None, self._ahead))) < _AHEAD_CHARACTERS

    async def aclose(self) -> None:
        """Receive no more."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)

    def _receive(self) -> asyncio.Task[str | bytes | None]:
        # Kept until it has a message: a receive that is cancelled may lose one.
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._socket.receive())
        return self._receiving

    def _received(self) -> str | bytes | None:
        message = self._receive().result()
        self._receiving = None
        return message
