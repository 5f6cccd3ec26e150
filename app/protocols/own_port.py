"""A WebSocket protocol on a port of its own, for clients that know no path, or several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from app.service.access import AccessLog
from app.service.routes import EVERY_PATH
from app.service.uploads import RequestId


def application_at_every_path(main: FastAPI, talk: Callable[[WebSocket], Awaitable[None]], name: str) -> Starlette:
    """The protocol `name`, which `talk` speaks, at every path. It shares what `main` has in its state, and has no life
    of its own."""

    async def no_websocket(_request: Request) -> Response:
        told = f"This port speaks {name}. Everything else is at the server's main port.\n"
        return PlainTextResponse(told, 426, {"upgrade": "websocket", "connection": "upgrade"})

    application = Starlette(
        routes=[
            WebSocketRoute(EVERY_PATH, talk, name=name),
            Route(EVERY_PATH, no_websocket, name=name, include_in_schema=False),
        ],
        middleware=[Middleware(RequestId), Middleware(AccessLog)],
    )
    application.state = main.state
    return application
