"""A client's WebSocket as every protocol uses it: who asks, what arrives, and sending to somebody who may have gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence

from fastapi import WebSocket, WebSocketDisconnect
from starlette.responses import Response

from app.service.admission import Caller
from app.service.auth import KeyRing, key_headers, presented_keys

NORMAL, TRY_AGAIN_LATER, INTERNAL_ERROR, POLICY_VIOLATION = 1000, 1013, 1011, 1008
_KEY_PREFIX = "openai-insecure-api-key."
"""What a key begins with in a subprotocol (OpenAI's browser client)."""
_SEND_SECONDS = 30.0
"""A message that a client has not taken in so long is not taken at all."""


class Socket:
    """One connection. One task receives; any may send."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sending = asyncio.Lock()
        self.gone = False

    @property
    def query(self) -> Mapping[str, str]:
        """The address's parameters."""
        return self._websocket.query_params

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the client offers to speak."""
        offered: Sequence[str] = self._websocket.scope.get("subprotocols", ())
        return offered

    def header(self, name: str) -> str:
        """A header's value, "" if there is none."""
        return self._websocket.headers.get(name, "")

    @property
    def keys(self) -> list[str]:
        """Keys in headers, in the address, and among the subprotocols: whether they are right or not."""
        return presented_keys(self._key_headers)

    @property
    def caller(self) -> Caller | None:
        """Who asks, by the key in a header, in the address or in a subprotocol; None if that is not allowed."""
        keyring: KeyRing = self._websocket.app.state.keyring
        if not keyring.open and not any(keyring.allows(key) for key in self.keys):
            return None
        return Caller(keyring.owner(self._key_headers))

    @property
    def _key_headers(self) -> list[tuple[bytes, bytes]]:
        offered = [name.removeprefix(_KEY_PREFIX) for name in self.subprotocols if name.startswith(_KEY_PREFIX)]
        return [*key_headers(self._websocket.scope), *((b"x-nls-token", key.encode()) for key in offered)]

    async def accept(self, subprotocols: Sequence[str] = ()) -> None:
        """Open it, with the first of `subprotocols` that the client offers: some clients want one of theirs."""
        await self._websocket.accept(next((name for name in subprotocols if name in self.subprotocols), None))

    async def refuse(self, response: Response) -> None:
        """Instead of accepting it: an HTTP answer to the handshake."""
        self.gone = True
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            await self._websocket.send_denial_response(response)

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client has gone."""
        if self.gone:
            return None
        try:
            message = await self._websocket.receive()
        except (WebSocketDisconnect, RuntimeError):  # the second is Starlette's, of a connection that is over
            message = {"type": "websocket.disconnect"}
        if message["type"] == "websocket.disconnect":
            self.gone = True
            return None
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, message: Mapping[str, object]) -> None:
        """A JSON text message, not escaped beyond need. Nothing happens once the client has gone."""
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        text = text.encode(errors="replace").decode()  # halves of characters, which JSON may have and UTF-8 may not
        async with self._sending:
            if self.gone:
                return
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await self._websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError, OSError):  # TimeoutError is an OSError
                self.gone = True

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End it. `reason` is at most 123 bytes."""
        async with self._sending:
            gone, self.gone = self.gone, True
            if not gone:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                    await self._websocket.close(code, reason)
