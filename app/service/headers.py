"""Headers that tell browsers what an answer may be used for, on every answer of every kind, and which other sites'
pages may read it (CORS).

Pure ASGI, to be put round everything else: refusals of other middleware and unforeseen failures carry them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import MappingProxyType

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY_ORIGIN = "*"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""Those that there are routes for."""
TOLD_HEADERS = (
    "x-request-id",
    "x-asr-model",
    "retry-after",
    "x-should-retry",
    "location",
    *(f"upload-{what}" for what in ("offset", "length", "defer-length", "metadata", "expires")),
    *(f"tus-{what}" for what in ("resumable", "version", "extension", "max-size", "checksum-algorithm")),
    *(f"x-ratelimit-{which}-{what}" for which in ("limit", "remaining", "reset") for what in ("requests", "tokens")),
)
"""What scripts may read of an answer beside its type and body."""
PREFLIGHT_SECONDS = 7200
"""How long a browser may remember what it was allowed (no more is heeded by the most common one)."""
FILE_PREFIXES = ("/static-offline-docs/",)
"""Where files lie that are the same for everybody, and whose routes say nothing of caching."""
HEADERS = MappingProxyType(
    {
        # Data: nothing in it is to be run, shown in a frame, or taken for another type.
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "permissions-policy": "microphone=(), camera=(), geolocation=()",
        # Other sites' pages get nothing by <img> or <script>; fetch, where CORS allows it, is not bound by this.
        "cross-origin-resource-policy": "same-origin",
        # Transcripts are private.
        "cache-control": "no-store",
    }
)
"""For whatever does not say otherwise itself, as the page does."""
_ANSWERS = frozenset({"http.response.start", "websocket.http.response.start"})
_REFUSED, _FAILED = b"This is refused.\n", b"Internal Server Error"


class SecurityHeaders:
    """Adds HEADERS to every HTTP answer, and to every answer that refuses a WebSocket; there is one, too, where its
    application fails before it says anything.

    `hsts_seconds`: over TLS, browsers are told to use nothing else for so long; 0: they are told nothing.
    """

    def __init__(self, app: ASGIApp, *, hsts_seconds: int = 0) -> None:
        self._app = app
        self._hsts = f"max-age={hsts_seconds}" if hsts_seconds else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        speaks = "websocket.http.response" not in scope.get("extensions", {})

        async def send_marked(message: Message) -> None:
            nonlocal speaks
            speaks = speaks or message["type"] == "websocket.accept"
            if message["type"] in _ANSWERS:
                speaks = True
                self._mark(message, scope)
            elif message["type"] == "websocket.close" and not speaks:
                speaks = True
                await self._refuse(scope, send, 403, _REFUSED)
                return
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:  # which the server logs
            if not speaks and scope["type"] == "websocket":
                with suppress(OSError):  # the client has gone: that is not what is to be told
                    await self._refuse(scope, send, 500, _FAILED)
            raise

    async def _refuse(self, scope: Scope, send: Send, status: int, told: bytes) -> None:
        """What servers answer to a WebSocket that is closed before it is accepted, or fails before, with headers."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(told))]
        if name := scope.get("state", {}).get("request_id"):  # whoever names requests is inside, and was not asked
            headers.append((b"x-request-id", name.encode("ascii")))
        start: Message = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        self._mark(start, scope)
        await send(start)
        await send({"type": "websocket.http.response.body", "body": told})

    def _mark(self, message: Message, scope: Scope) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(scope=message)
        if str(scope["path"]).startswith(FILE_PREFIXES):
            headers.setdefault("cache-control", "no-cache")  # kept, and asked for again
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._hsts and scope["scheme"] in {"https", "wss"}:
            headers.setdefault("strict-transport-security", self._hsts)


def shielded(app: ASGIApp, *, origins: Sequence[str] = (), hsts_seconds: int = 0) -> ASGIApp:
    """`app` with all of this round it. `origins` are those whose pages may read its answers, or ANY_ORIGIN alone."""
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            # Whatever is asked for: every SDK has its own, each version new ones, and a site that may ask may ask all.
            allow_headers=("*",),
            allow_credentials=False,  # there are no cookies: keys are in headers, which scripts set themselves
            allow_private_network=ANY_ORIGIN not in origins,
            expose_headers=TOLD_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )
    return SecurityHeaders(app, hsts_seconds=hsts_seconds)
