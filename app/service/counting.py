"""Counts HTTP requests and WebSockets, those that were refused before any route saw them included. Pure ASGI."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.metrics.meter import PrometheusMeter
from app.service.routes import route_of

_CLIENT_LEFT, _FAILED, _ACCEPTED, _DENIED = 499, 500, 101, 403


class Counting:
    """Tells `meter` of every request. To be put where paths are spelled as routes are."""

    def __init__(self, app: ASGIApp, *, meter: PrometheusMeter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = _CLIENT_LEFT

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        except Exception:
            status = _FAILED if status == _CLIENT_LEFT else status  # answered further out
            raise
        finally:
            self._meter.request(route_of(scope), scope["method"], status, time.monotonic() - began)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = False

        def tell(status: int) -> None:
            nonlocal told
            if not told:
                told = True
                self._meter.handshake(route_of(scope), status)

        async def send_seen(message: Message) -> None:
            if message["type"] == "websocket.accept":
                tell(_ACCEPTED)
            elif message["type"] == "websocket.http.response.start":
                tell(message["status"])
            elif message["type"] == "websocket.close":
                tell(_DENIED)  # what a server makes of one that is closed before it was accepted
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        except Exception:
            tell(_FAILED)
            raise
        finally:
            tell(_CLIENT_LEFT)
