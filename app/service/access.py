"""A line in the log for each HTTP request that was answered, and for each WebSocket that has ended. Pure ASGI."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.routes import route_of

_BESIDES = frozenset(
    {"/health", "/health/live", "/health/ready", "/metrics", "/web/{name:path}", "/static-offline-docs"}
)
"""What is asked every few seconds, and files: at DEBUG."""
_CLIENT_LEFT, _FAILED, _ACCEPTED, _DENIED = 499, 500, 101, 403
"""What is logged, as service/counting.py counts it, of who left before an answer, and of what is answered further out;
of a WebSocket that was accepted, and of one that was closed instead."""
_LOST = 1006
"""The close code of a connection that nobody has closed (RFC 6455)."""
_logger = logging.getLogger(__name__)


class AccessLog:
    """Logs each request's method, route, status and time once its answer has been sent, or has failed; a WebSocket's
    close code, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        exchange = _Exchange(receive, send)
        failed = False
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            failed = True
            raise
        finally:
            route = route_of(scope)
            fields: dict[str, object] = {
                "method": scope.get("method", "WebSocket"),
                "path": route,
                "status": exchange.status or (_FAILED if failed else _CLIENT_LEFT),
                "duration_ms": round((time.monotonic() - began) * 1000),
            }
            if exchange.status == _ACCEPTED and scope["type"] == "websocket":
                fields["close_code"] = exchange.close_code or _LOST
            said = "answered" if scope["type"] == "http" else "connection ended"
            _logger.log(logging.DEBUG if route in _BESIDES else logging.INFO, said, extra=fields)


class _Exchange:
    """What is known of an answer from the messages that pass: its status, and how a WebSocket was closed; 0 before."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.status = 0
        self.close_code = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.close_code = self.close_code or message.get("code") or _LOST
        return message

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                self.status = self.status or message["status"]
            case "websocket.accept":
                self.status = _ACCEPTED
            case "websocket.close":
                self.status = self.status or _DENIED
                self.close_code = self.close_code or message.get("code") or 1000
            case _:
                pass
        await self._send(message)
