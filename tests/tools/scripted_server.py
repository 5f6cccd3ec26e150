"""A WebSocket server that follows a script: what it says at once, and what it says to which message."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

Json = dict[str, Any]
Answer = Callable[["Json | bytes"], Sequence[Json]]


@dataclass
class Script:
    """`answer` is given every message (text as JSON, sound as bytes) and says what is sent back. None: nothing more
    is answered, the server closes the connection."""

    answer: Callable[[Json | bytes], Sequence[Json] | None]
    greeting: Sequence[Json] = ()
    refuse: HTTPStatus | None = None
    said: list[Json | bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def texts(self) -> list[Json]:
        """Messages that were not sound."""
        return [one for one in self.said if not isinstance(one, bytes)]

    @property
    def sound(self) -> bytes:
        return b"".join(one for one in self.said if isinstance(one, bytes))


@contextlib.asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """The address of a server that does so."""

    async def handle(socket: ServerConnection) -> None:
        for message in script.greeting:
            await socket.send(json.dumps(message))
        async for raw in socket:
            message: Json | bytes = json.loads(raw) if isinstance(raw, str) else raw
            script.said.append(message)
            answers = script.answer(message)
            if answers is None:
                return
            for answer in answers:
                await socket.send(json.dumps(answer))

    def look(socket: ServerConnection, request: Request) -> Response | None:
        script.paths.append(request.path)
        script.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        return socket.respond(script.refuse, "no\n") if script.refuse else None

    async with serve(handle, "127.0.0.1", 0, process_request=look) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
