"""Dialects that are spoken over a WebSocket, in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast
from urllib.parse import urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from tools.dialects.hearing import StreamFailedError
from tools.dialects.session import PATIENCE, Session

_REASON = 300
"""Characters of a refusal's body that are shown."""


class WebSocketSession(Session):
    """A session on a WebSocket; a dialect reads what `_hear` is given."""

    half_a_message: ClassVar[bytes] = b"\x82\xfe\x0c\x80" + bytes(100)
    """The beginning of a binary message of 3,200 bytes."""

    def _hear(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.wishes.token}"} if self.wishes.token else {}

    @property
    def _transport(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._socket.transport)

    async def _connect(self) -> None:
        where = self._where
        url = urlunsplit(where._replace(scheme={"http": "ws", "https": "wss"}.get(where.scheme, where.scheme)))
        shown = urlunsplit(where._replace(query=""))
        try:
            self._socket: ClientConnection = await connect(
                url,
                additional_headers=self._headers,
                max_size=None,
                compression=None,
                proxy=None,
                open_timeout=PATIENCE,
                ping_interval=None,  # a ping waits behind sound that is sent faster than it is heard
            )
        except InvalidStatus as error:
            status = error.response.status_code
            told = _message(bytes(error.response.body or b"")) or error.response.reason_phrase
            raise StreamFailedError(status, f"{shown} was refused: {told}") from error
        except (OSError, TimeoutError) as error:
            raise StreamFailedError("unreachable", f"nothing answers at {shown} ({error})") from error
        except (InvalidHandshake, InvalidURI, EOFError) as error:
            raise StreamFailedError("unreachable", f"what answers at {shown} is no WebSocket ({error})") from error

    async def _disconnect(self) -> None:
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for raw in self._socket:
                self._hear(json.loads(raw))
        except ConnectionClosed:
            pass
        if self._socket.close_code not in {1000, 1001, 1005, 1006, None}:
            self._has_failed(self._socket.close_code or 0, self._socket.close_reason or "the server closed")

    async def _send(self, message: bytes | Mapping[str, Any]) -> None:
        """Raises ConnectionError."""
        try:
            await self._socket.send(message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False))
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error


def _message(body: bytes) -> str:
    """What a refusal says: the message of an error in JSON, or the text."""
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:_REASON]
