"""The line in the log for each request: what was asked, as its route is written, and how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from house import House, furnished
from service.test_logs import Log
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.service.access import AccessLog

KEY = {"authorization": "Bearer secret-key"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


def lines(log: Log) -> list[tuple[str, str, int, str, str]]:
    said = [one for one in log.objects if one["message"] == "answered"]
    assert all(one["duration_ms"] >= 0 for one in said)
    return [(one["method"], one["path"], one["status"], one["level"], one["request_id"]) for one in said]


@pytest.mark.usefixtures("root")
def test_every_answer_has_a_line(house: House, tmp_path: Path) -> None:
    log = Log(tmp_path, log_format="json", log_level="DEBUG")

    async def scenario(client: httpx.AsyncClient) -> None:
        for number, (method, path, headers) in enumerate(
            (
                ("GET", "/v1/models?token=secret-key", {}),
                ("DELETE", "/v1/voices/voice_secret?token=secret-key", {}),
                ("GET", "/openai/v1/v1/models", KEY),
                ("GET", "/v1/voices/voice_secret", {}),
                ("POST", "/secret/path", KEY),
                ("GET", "/health/live", {}),
                ("GET", "/web/speech.js", {}),
            )
        ):
            await client.request(method, path, headers=headers | {"x-request-id": str(number)})

    house.serve(scenario, api_keys="secret-key")
    assert lines(log) == [
        ("GET", "/v1/models", 200, "info", "0"),
        ("DELETE", "/v1/voices/{id}", 404, "info", "1"),
        ("GET", "/v1/models", 200, "info", "2"),
        ("GET", "/v1/voices/{id}", 401, "info", "3"),
        ("POST", "(unknown)", 404, "info", "4"),
        ("GET", "/health/live", 200, "debug", "5"),
        ("GET", "/web/{name:path}", 404, "debug", "6"),
    ]
    assert "secret" not in json.dumps([one for one in log.objects if one["logger"].startswith("app.")])


@pytest.mark.usefixtures("root")
def test_what_nobody_foresaw_is_a_500_and_names_its_request(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path, log_format="json")

    def broken(_: object) -> object:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("app.service.service.SpeechService.models", broken)

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/models", headers={"x-request-id": "it"})).status_code == 500

    house.serve(scenario)
    assert lines(log) == [("GET", "/v1/models", 500, "info", "it")]
    failed = next(one for one in log.objects if one["level"] == "error")
    assert failed["request_id"] == "it"
    assert "ZeroDivisionError: unforeseen" in failed["exception"]
    assert logging.getLogger().level == logging.INFO


async def left(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()


async def ended(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(1008)


async def closed(websocket: WebSocket) -> None:
    await websocket.close()


async def denied(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("no", 401))


async def failing(_websocket: WebSocket) -> None:
    raise ZeroDivisionError


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("serve", "status", "close_code"),
    [(left, 101, 4001), (ended, 101, 1008), (closed, 403, None), (denied, 401, None), (failing, 500, None)],
)
def test_every_websocket_has_a_line(
    tmp_path: Path, serve: Callable[[WebSocket], Awaitable[None]], status: int, close_code: int | None
) -> None:
    log = Log(tmp_path, log_format="json")
    application = AccessLog(Starlette(routes=[WebSocketRoute("/at/{name}", serve)]))
    try:
        with TestClient(application).websocket_connect("/at/secret-name?token=secret-key") as socket:
            if serve is left:
                socket.close(4001)
            else:
                socket.receive()
    except (WebSocketDisconnect, ZeroDivisionError):
        pass
    [line] = [one for one in log.objects if one["message"] == "connection ended"]
    assert (line["method"], line["path"], line["status"], line.get("close_code"), line["level"]) == (
        *("WebSocket", "/at/{name}", status),
        close_code,
        "info",
    )
    assert line["duration_ms"] >= 0
    assert "secret" not in json.dumps([one for one in log.objects if one["logger"].startswith("app.")])


@pytest.mark.usefixtures("root")
def test_who_leaves_before_an_answer_is_a_499(tmp_path: Path) -> None:
    log = Log(tmp_path, log_format="json")
    arrived = asyncio.Event()

    async def answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def nowhere(_message: Message) -> None:
        pass

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/x", "app": Starlette(routes=[Route("/x", left)])}
        asking = asyncio.create_task(AccessLog(answer)(scope, nothing, nowhere))
        await arrived.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())
    assert [(one["path"], one["status"]) for one in log.objects if one["message"] == "answered"] == [("/x", 499)]
