"""A client's WebSocket as every protocol uses it: who asks, what arrives, and sending to somebody who may have gone."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
from collections.abc import Mapping, Sequence

from fastapi import WebSocket, WebSocketDisconnect
from starlette.responses import Response

from app.protocols.callers import origin
from app.service.admission import Caller
from app.service.auth import KeyRing, key_headers, presented_keys
from app.service.lifecycle import Lifecycle

NORMAL, TRY_AGAIN_LATER, INTERNAL_ERROR, POLICY_VIOLATION, SERVICE_RESTART = 1000, 1013, 1011, 1008, 1012
_KEY_PREFIX = "openai-insecure-api-key."
"""What a key begins with in a subprotocol (OpenAI's browser client)."""
_SEND_SECONDS = 30.0
"""A message that a client has not taken in so long is not taken at all."""


class Farewell(str):
    """The message by which clients end what they are saying, where the server has said it in a client's place. It is
    obeyed as if the client had said it; who has to tell it from that does so by its class."""

    __slots__ = ()


class _Speech(enum.Enum):
    """What is said on a connection.

    RESTING -- begin --> SPEAKING -- the server ends it --> PARTED -- rest --> OVER
       ^------- rest -------/                                  ^---- begin ----/

    Only in SPEAKING can there be a farewell to say, and it is said once. From PARTED on, what the client says is
    dropped; what it said before that may still be read, and begin something.
    """

    RESTING = enum.auto()
    SPEAKING = enum.auto()
    PARTED = enum.auto()
    OVER = enum.auto()


class Socket:
    """One connection. One task receives; any may send.

    When the server ends, a connection on which nothing is being said is closed (1012), and what is being said is ended
    some seconds before it is given up: as if the client had said so, with the message that its protocol has for that.
    What the client says after that is dropped.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sending = asyncio.Lock()
        self.gone = False
        self._speech = _Speech.RESTING
        self._farewell: str | None = None
        self._waiting: asyncio.Timeout | None = None  # of who receives, while no message is there
        self._lifecycle: Lifecycle = getattr(websocket.app.state, "lifecycle", None) or Lifecycle()
        self._lifecycle.welcome(self)

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
        return Caller(keyring.owner(self._key_headers), None, *self.origin)

    @property
    def origin(self) -> tuple[str, str, str]:
        """What a Caller has of it beside the key: address, name for the log, path."""
        return origin(self._websocket)

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

    @property
    def busy(self) -> bool:
        """Whether something is being said, or was and is not all answered."""
        return self._speech in {_Speech.SPEAKING, _Speech.PARTED}

    def begin(self, farewell: str | None) -> None:
        """From here on something is being said. `farewell` is the message by which clients end it (None: it cannot be
        ended before its time)."""
        self._speech, self._farewell = (_Speech.PARTED if self._parted else _Speech.SPEAKING), farewell

    def rest(self) -> None:
        """Nothing is being said any more, and all was answered."""
        self._speech, self._farewell = (_Speech.OVER if self._parted else _Speech.RESTING), None
        self.heed()

    @property
    def _parted(self) -> bool:
        return self._speech in {_Speech.PARTED, _Speech.OVER}

    def heed(self) -> None:
        """See Guest: whoever waits for a message is to look whether there will be one."""
        news = self._lifecycle.finishing or (self._lifecycle.closed and not self.busy)
        if news and self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> str | bytes | None:
        """The next message, which is a Farewell once the server ends; None when the client has gone, or the server ends
        and nothing is being said."""
        while not self.gone:
            if self._lifecycle.closed and not self.busy:
                await self.close()
                break
            if self._lifecycle.finishing and self._speech is _Speech.SPEAKING and self._farewell is not None:
                self._speech = _Speech.PARTED
                return Farewell(self._farewell)
            message = await self._next()
            if message is not None and not self._parted:
                return message
        return None

    async def _next(self) -> str | bytes | None:
        """The next message; None when the client has gone, or there is news of the server."""
        try:
            async with asyncio.timeout(None) as self._waiting:
                message = await self._websocket.receive()
        except TimeoutError:
            return None
        except (WebSocketDisconnect, RuntimeError):  # the second is Starlette's, of a connection that is over
            message = {"type": "websocket.disconnect"}
        finally:
            self._waiting = None
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
        """End it. `reason` is at most 123 bytes. Nobody is to think that all is well who only has to connect anew."""
        if code == NORMAL and self._lifecycle.closed:
            code, reason = SERVICE_RESTART, "The server is ending."
        async with self._sending:
            gone, self.gone = self.gone, True
            if not gone:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                    await self._websocket.close(code, reason)
