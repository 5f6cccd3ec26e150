"""A server that says what reached it, served as the real one is: `echo.py PORT`. What a model cannot be made to show.

/seen tells the request's client, scheme and headers, and how many bytes of body came, and takes bodies of any size;
/steps, and where a job's events are, sends an event each time /step is asked; /large answers with much JSON, /silent
never.
"""

from __future__ import annotations

import asyncio
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from app.ports import ServedApp, serve_all


def application() -> Starlette:
    """The server."""
    steps: asyncio.Queue[str] = asyncio.Queue()

    async def seen(request: Request) -> Response:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        client = request.client.host if request.client else None
        told = {"client": client, "scheme": request.url.scheme, "host": request.headers["host"], "bytes": size}
        return JSONResponse(told | {"headers": dict(request.headers), "path": request.url.path})

    async def step(_request: Request) -> Response:
        await steps.put("data: step\n\n")
        return PlainTextResponse("done")

    async def lines(_request: Request) -> Response:
        async def told():
            for _ in range(3):
                yield await steps.get()

        return StreamingResponse(told(), media_type="text/event-stream")

    async def large(_request: Request) -> Response:
        return JSONResponse({"text": "word " * 2000})

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    async def silent(_request: Request) -> Response:
        await asyncio.sleep(3600)
        return PlainTextResponse("late")

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ready")

    routes = [("/steps", lines), ("/step", step), ("/silent", silent), ("/health/ready", ready)]
    routes.append(("/v1/jobs/job_1/events", lines))
    anything = ["GET", "POST", "PATCH"]
    return Starlette(
        routes=[Route(path, answer, methods=anything) for path, answer in [*routes, ("/large", large)]]
        + [WebSocketRoute("/{path:path}", live), Route("/{path:path}", seen, methods=anything)]
    )


if __name__ == "__main__":
    serve_all(ServedApp(application(), "127.0.0.1", int(sys.argv[1]), "PORT", proxies=("127.0.0.1",)))
