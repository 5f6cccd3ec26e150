"""What the server's end waits for no longer: its caller is told so, in the protocol's own shape. Pure ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import ServerEnding, SpeechError
from app.service.lifecycle import Lifecycle

Refuse: TypeAlias = Callable[[SpeechError, Scope], Response]
"""Draws the answer to a request that nothing is answered to yet."""
LastEvent: TypeAlias = Callable[[SpeechError], bytes]
"""Draws the last event of a stream of events that has begun."""
_EVENTS = "text/event-stream"


class GivingUp:
    """Answers requests that are cancelled once `lifecycle` has given them up: with what `refuse` makes of ServerEnding,
    or, in a stream of events, with `last_event`. Any other answer that has begun just ends, as does a WebSocket, which
    was told by its connection."""

    def __init__(self, app: ASGIApp, *, lifecycle: Lifecycle, refuse: Refuse, last_event: LastEvent) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._refuse = refuse
        self._last_event = last_event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        begun: Message | None = None

        async def send_seen(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = message
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._lifecycle.given_up or task is None:
                raise
            task.uncancel()
            if scope["type"] == "http":
                await self._tell(begun, scope, receive, send)

    async def _tell(self, begun: Message | None, scope: Scope, receive: Receive, send: Send) -> None:
        error = ServerEnding("The server ends, and this took too long: ask again, it may be back.")
        if begun is None:
            await self._refuse(error, scope)(scope, receive, send)
        elif Headers(raw=list(begun.get("headers", []))).get("content-type", "").startswith(_EVENTS):
            await send({"type": "http.response.body", "body": self._last_event(error), "more_body": False})
