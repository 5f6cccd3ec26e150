"""The middleware by itself: what it refuses, when, and how it parts from a sender who is still sending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import AuthenticationFailed, RequestError, UploadTooLarge
from app.service import uploads
from app.service.auth import KeyRing
from app.service.uploads import FORM_SLACK, RequestId, UploadGuard

LIMIT = 1000


def refuse(error: RequestError, scope: Scope) -> Response:
    return PlainTextResponse(f"{error.code} {scope['path']}", 401 if isinstance(error, AuthenticationFailed) else 413)


class Application:
    """Reads the whole body, and answers 413 itself when that is cut off."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.bodies.append(await Request(scope, receive).body())
            response = PlainTextResponse("fine")
        except UploadTooLarge:
            response = PlainTextResponse("cut off", 413)
        await response(scope, receive, send)


def call(
    path: str, headers: dict[str, str], chunks: Sequence[bytes] = (b"",), *, silent: bool = False
) -> tuple[Application, list[Message], int]:
    """One request: the application, what was sent, and how many chunks were left unread."""
    application = Application()
    guard = UploadGuard(application, keyring=KeyRing(["right"]), max_bytes=LIMIT, idle_seconds=30, refuse=refuse)
    left = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        if silent:
            await asyncio.sleep(60)
        if not left:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = Headers(headers).raw
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b""}
    asyncio.run(guard(scope, receive, send))
    return application, sent, len(left)


RIGHT = {"authorization": "Bearer right"}


def test_a_key_opens() -> None:
    application, sent, _ = call("/v1/x", RIGHT | {"content-length": "2"}, [b"o", b"k"])
    assert application.bodies == [b"ok"]
    assert sent[0]["status"] == 200
    assert "connection" not in Headers(raw=sent[0]["headers"])


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/ready", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/a.js"]
)
def test_open_paths(path: str) -> None:
    assert call(path, {})[1][0]["status"] == 200


@pytest.mark.parametrize("path", ["/v1/models", "/docs/x", "//", "/xhealth", "/stream/v1/asr", ""])
def test_all_else_is_closed(path: str) -> None:
    application, sent, _ = call(path, {"authorization": "Bearer wrong"})
    assert sent[0]["status"] == 401
    assert application.bodies == []
    assert b"wrong" not in sent[1]["body"]


def test_a_refused_sender_is_heard_out() -> None:
    application, sent, left = call("/v1/x", {"transfer-encoding": "chunked"}, [b"x" * 500] * 10)
    assert application.bodies == []
    assert left == 0
    assert Headers(raw=sent[0]["headers"])["connection"] == "close"
    assert [message.get("more_body") for message in sent[1:]] == [True, False]


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LINGER_IDLE_SECONDS", 0.05)
    _, sent, _ = call("/v1/x", {"content-length": "5"}, [b"x"], silent=True)
    assert sent[-1]["more_body"] is False


def test_an_announced_length_is_refused_unread() -> None:
    application, sent, _ = call("/v1/x", RIGHT | {"content-length": str(LIMIT + FORM_SLACK + 1)}, [b"x"])
    assert sent[0]["status"] == 413
    assert application.bodies == []


@pytest.mark.parametrize("length", ["", "-1", "²", "ten"])
def test_lengths_that_are_none_are_counted(length: str) -> None:
    raw = {"transfer-encoding": "chunked"} | ({"content-length": length} if length.isascii() else {})
    application, sent, _ = call("/v1/x", RIGHT | raw, [b"x" * (LIMIT + FORM_SLACK), b"x", b"y"])
    assert sent[0]["status"] == 413
    assert application.bodies == []


def test_the_limit_itself_is_allowed() -> None:
    assert call("/v1/x", RIGHT | {"content-length": str(LIMIT)}, [b"x" * LIMIT])[1][0]["status"] == 200


def test_other_scopes_pass() -> None:
    seen: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Message:
        return {}

    for middleware in (
        RequestId(application),
        UploadGuard(application, keyring=KeyRing(["k"]), max_bytes=1, idle_seconds=30, refuse=refuse),
    ):
        asyncio.run(middleware({"type": "lifespan"}, nothing, nothing))  # type: ignore[arg-type]
    assert seen == ["lifespan", "lifespan"]


@pytest.mark.parametrize("answer", ["websocket.accept", "websocket.http.response.start"])
def test_a_websocket_is_named_like_a_request(answer: str) -> None:
    sent: list[Message] = []

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        assert scope["state"]["request_id"] == "mine"
        await send({"type": answer, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "websocket", "headers": [(b"x-request-id", b"mine")]}
    asyncio.run(RequestId(application)(scope, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": answer, "headers": [(b"x-request-id", b"mine")]}]
