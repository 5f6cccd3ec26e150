"""Connections that become WebSockets: uvicorn's protocol, patient with the clients there are and silent about them.

Alibaba Cloud's Python SDKs send the handshake's key and version twice, the second key being a constant, and check the
answer against the first. Libraries refuse that or answer to the last, so that the repeats are taken out here.
"""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_CLOSING_SECONDS = 30.0
"""After which a connection is ended whose client takes in neither its end nor what was sent before it."""
_ONCE = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
_END = b"\r\n\r\n"


class TolerantWebSocket(WebSocketsSansIOProtocol):
    """One connection. To be handed to uvicorn as `ws`.

    Unlike uvicorn's own, it hears out a client whose answer to a ping waits behind sound that is not read yet, and logs
    neither clients' addresses, nor paths and their parameters, which hold names and keys, nor (at DEBUG) headers and
    messages: service/access.py has a line for each connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _Troubles(self.logger)  # type: ignore[assignment]  # it is used as a logger is
        self.conn.debug, self.conn.logger = False, self.logger
        self._heard = False

    def data_received(self, data: bytes) -> None:
        """Bytes: first the request's whole head, which uvicorn has collected, then messages."""
        self._heard = True
        super().data_received(data if self.handshake_initiated else without_repeats(data))

    async def send(self, message: Any) -> None:
        """What the application sends. Who does not read the end of a connection is not waited for."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # by a refusal, which uvicorn would log as an error
        if message["type"] == "websocket.close":
            self.loop.call_later(_CLOSING_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """No port listens any more. Whoever serves the connection knows, and ends it in its protocol's way."""

    def give_up(self) -> None:
        """It has taken too long over that: it ends here, with 1012 (service restart)."""
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """A ping was not answered in time: the end, unless the client was heard of, or is not listened to just now."""
        heard, self._heard = self._heard, False
        if (heard or self.read_paused) and self.ping_timeout is not None and not self.close_sent:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        super().keepalive_timeout()


def without_repeats(request: bytes) -> bytes:
    """The request with the first only of headers that must not be repeated. What follows its head stays as it is."""
    head, end, rest = request.partition(_END)
    kept: list[bytes] = []
    seen: set[bytes] = set()
    for line in head.split(b"\r\n"):
        name = line.partition(b":")[0].strip().lower()
        if name in seen:
            continue
        seen.update({name} & _ONCE)
        kept.append(line)
    return b"\r\n".join(kept) + end + rest


class _Troubles(logging.LoggerAdapter[logging.Logger]):
    """A logger of warnings and what is worse. The rest is who has connected from where, and to what."""

    @property
    def level(self) -> int:
        """The logger's own."""
        return self.logger.level

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log it, if it is one."""
        if level >= logging.WARNING:
            super().log(level, msg, *args, **kwargs)
