"""Before anything of a request is read or parsed: its name for the log, its key, and a bound on its bytes.

Pure ASGI, because a framework parses a whole form before its own checks run. How a refusal looks is a protocol's
affair: `refuse` is handed in.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import RequestError, UploadTooLarge, UploadTooSlow
from app.domain.pace import GRACE_SECONDS, LEAST_SPEED
from app.service import logs
from app.service.auth import Door, KeyRing

Refuse: TypeAlias = Callable[[RequestError, Scope], Response]
"""Draws the answer to a refused request."""

FORM_SLACK = 1024 * 1024
"""What a form's other fields and part headers may take on top of the file."""
OPEN_PATHS = frozenset({"/", "/ws/v1/asr/test", "/docs", "/redoc", "/openapi.json", "/favicon.ico"})
OPEN_PREFIXES = ("/health", "/static-offline-docs/", "/web/")
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0
"""How long a refused sender is listened to, in all and between two chunks. Most clients send their whole body before
they look for an answer; a connection that closes under them is all they would see (nginx's figures)."""
_ANSWERS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""Messages that carry an answer's headers."""
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Never `..`, which clients and proxies take out of the path by which a request is ended."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes of file a request may have, and the setting that says so."""

    max_bytes: int
    setting: str = "MAX_AUDIO_SIZE"

    def crossed(self, size: int) -> bool:
        """Whether a body of `size` bytes has more than a file of so many, and a form round it."""
        return size > self.max_bytes + FORM_SLACK


_NO_OTHERS: Mapping[str, Bound] = MappingProxyType({})


class RequestId:
    """Names every HTTP request and WebSocket: the client's own X-Request-ID when it is harmless, else a fresh one.

    The id is in `scope["state"]["request_id"]`, on the answer (a WebSocket's on the answer to its handshake), and in
    every line that is logged meanwhile.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name

        async def send_named(message: Message) -> None:
            if message["type"] in _ANSWERS:
                MutableHeaders(scope=message)["x-request-id"] = name
            await send(message)

        with logs.named(name):
            await self._app(scope, receive, send_named)


class UploadGuard:
    """Lets a request through to the application only with a key, and never more bytes of file than its path may have.

    Bodies that say how long they are are refused at once; others are counted as they arrive, and the read that
    crosses the limit raises UploadTooLarge into the application, whose error handlers answer it. One of which nothing
    arrives for `idle_seconds`, or next to nothing for a minute, raises UploadTooSlow.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: KeyRing,
        admins: KeyRing | None = None,
        max_bytes: int,
        bounds: Mapping[str, Bound] = _NO_OTHERS,
        idle_seconds: float,
        refuse: Refuse,
        open_paths: Collection[str] = OPEN_PATHS,
        open_prefixes: tuple[str, ...] = OPEN_PREFIXES,
    ) -> None:
        """`admins` are the keys of /v1/admin; without any, nobody may go there. `bounds` are those of whatever lies at
        or below their paths (of several, the longest path decides); everything else has `max_bytes`."""
        self._app = app
        self._door = Door(keyring, admins or KeyRing(()), open_paths=open_paths, open_prefixes=open_prefixes)
        self._bound = Bound(max_bytes)
        self._bounds = sorted(bounds.items(), key=lambda item: len(item[0]), reverse=True)
        self._idle_seconds = idle_seconds
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = self._bound_of(str(scope["path"]))
        body = _Body(receive, send, bound, self._idle_seconds, expected=_has_body(scope))
        try:
            self._check(scope, bound)
        except RequestError as error:
            await self._refuse(error, scope)(scope, body.receive_unbounded, body.send)
            return
        await self._app(scope, body.receive, body.send)

    def _bound_of(self, path: str) -> Bound:
        return next((bound for at, bound in self._bounds if path == at or path.startswith(f"{at}/")), self._bound)

    def _check(self, scope: Scope, bound: Bound) -> None:
        self._door.check(scope)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isascii() and announced.isdigit() and bound.crossed(int(announced)):
            raise _too_large(bound)


class _Body:
    """One request's body on its way in, and the answer on its way out.

    An answer that starts before the body has ended closes its connection, and waits a while for the sender to notice.
    """

    def __init__(self, receive: Receive, send: Send, bound: Bound, idle_seconds: float, *, expected: bool) -> None:
        self._receive = receive
        self._send = send
        self._bound = bound
        self._idle_seconds = idle_seconds
        self._began = time.monotonic()
        self._received = 0
        self._ended = not expected
        self._closing = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            UploadTooLarge: the body has crossed the limit.
            UploadTooSlow: the rest of it does not arrive.
        """
        if self._ended:  # the application waits for the client to leave, which may take as long as the work
            return await self.receive_unbounded()
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self.receive_unbounded()
        except TimeoutError as error:
            raise UploadTooSlow(f"Nothing of the upload arrived for {self._idle_seconds:g} s.") from error
        elapsed = time.monotonic() - self._began
        if not self._ended and elapsed > GRACE_SECONDS and self._received < LEAST_SPEED * elapsed:
            raise UploadTooSlow(f"The upload is slower than {LEAST_SPEED} bytes a second.")
        if self._bound.crossed(self._received):
            raise _too_large(self._bound)
        return message

    async def receive_unbounded(self) -> Message:
        """The next message, whatever its size."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._ended = self._ended or not message.get("more_body", False)
        else:
            self._ended = True
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; the last one of an early answer waits until the sender has been heard out."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False) and self._closing:
            await self._send({**message, "more_body": True})
            await self._hear_out()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)

    async def _start(self, message: Message) -> None:
        if not self._ended and message["status"] >= 400:
            self._closing = True
            MutableHeaders(scope=message)["connection"] = "close"
        await self._send(message)

    async def _hear_out(self) -> None:
        deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
        while not self._ended and (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(min(left, LINGER_IDLE_SECONDS)):
                    await self.receive_unbounded()
            except TimeoutError:
                return


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _too_large(bound: Bound) -> UploadTooLarge:
    message = f"The upload is larger than this server takes ({bound.max_bytes} bytes, {bound.setting})."
    return UploadTooLarge(message, param="file")
