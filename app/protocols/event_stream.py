"""Server-sent events as they come, and an end to what makes them when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.protocols.connected import end, until_disconnect

KEEP_ALIVE_SECONDS = 15.0
"""Proxies commonly give up on a silent connection after 30 to 60 seconds."""
KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Neither a cache nor nginx's buffer may hold back an event."""


class Behind(Protocol):
    """What events are made from."""

    async def aclose(self) -> None:
        """End it."""
        ...


class EventStream(Response):
    """Sends events until they end or the client leaves; either way what is behind them is closed."""

    media_type = "text/event-stream"

    def __init__(
        self, source: AsyncGenerator[bytes, None], behind: Behind, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(headers=_HEADERS | dict(headers or {}))
        del self.headers["content-length"]
        self._source = source
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        sender = asyncio.create_task(self._send(send))
        watcher = asyncio.create_task(until_disconnect(receive))
        try:
            await asyncio.wait({sender, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                sender.result()
        finally:
            try:
                await end(sender, watcher)
            finally:
                await self._behind.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._source) as source:
            async for event in source:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
