"""Requests and WebSockets as they are counted, however they end."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from app.service.counting import Counting
from app.service.metrics.meter import PrometheusMeter


class Counted(PrometheusMeter):
    """Keeps what it is told of requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, int]] = []
        self.handshakes: list[tuple[str, int]] = []

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((route, method, status))

    def handshake(self, route: str, status: int) -> None:
        self.handshakes.append((route, status))


async def answered(request: Request) -> Response:
    return PlainTextResponse(request.path_params["name"])


async def failing(_request: Request) -> Response:
    raise ZeroDivisionError


async def never(_request: Request) -> Response:
    await asyncio.sleep(3600)
    raise AssertionError


async def heard(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


async def denied(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("no", 401))


async def closed(socket: WebSocket) -> None:
    await socket.close()


async def broken(_socket: WebSocket) -> None:
    raise ZeroDivisionError


APP = Starlette(
    routes=[
        Route("/things/{name}", answered),
        Route("/failing", failing),
        Route("/never", never),
        WebSocketRoute("/heard", heard),
        WebSocketRoute("/denied", denied),
        WebSocketRoute("/closed", closed),
        WebSocketRoute("/broken", broken),
    ]
)


def counted(*asked: tuple[str, str, str], seconds: float = 5.0) -> Counted:
    """What is counted of requests, each a type, a method and a path."""
    meter = Counted()
    guarded = Counting(APP, meter=meter)

    async def main() -> None:
        for kind, method, path in asked:
            scope: Scope = {
                "type": kind, "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
                "headers": [], "root_path": "", "app": APP, "extensions": {"websocket.http.response": {}},
            }  # fmt: skip
            first: Message = {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}

            async def receive(message: Message = first) -> Message:
                return message

            async def send(_message: Message) -> None: ...

            with contextlib.suppress(ZeroDivisionError, TimeoutError):
                async with asyncio.timeout(seconds):
                    await guarded(scope, receive, send)

    asyncio.run(main())
    return meter


def test_requests_by_route_method_and_status() -> None:
    meter = counted(
        ("http", "GET", "/things/one"), ("http", "GET", "/things/two"), ("http", "POST", "/things/two"),
        ("http", "GET", "/nothing"), ("http", "GET", "/failing"),
    )  # fmt: skip
    assert meter.requests == [
        ("/things/{name}", "GET", 200),
        ("/things/{name}", "GET", 200),
        ("/things/{name}", "POST", 405),
        ("(unknown)", "GET", 404),
        ("/failing", "GET", 500),
    ]
    assert meter.handshakes == []


def test_a_request_that_is_given_up_before_its_answer() -> None:
    assert counted(("http", "GET", "/never"), seconds=0.1).requests == [("/never", "GET", 499)]


def test_websockets_by_what_became_of_their_handshake() -> None:
    paths = ("/heard", "/denied", "/closed", "/broken")
    meter = counted(*(("websocket", "GET", path) for path in paths))
    assert meter.handshakes == [("/heard", 101), ("/denied", 401), ("/closed", 403), ("/broken", 500)]
    assert meter.requests == []
