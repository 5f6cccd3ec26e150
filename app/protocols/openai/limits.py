"""How many requests a caller may still make, in the headers that OpenAI's clients read it from."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.protocols.callers import caller
from app.service.quotas import Room
from app.service.service import SpeechService

_PATHS = "/v1/audio/"


class RequestsLeft:
    """Puts `x-ratelimit-*-requests` on the answers of OpenAI's audio routes, refusals among them, where requests are
    limited. Pure ASGI, within whatever checks keys and sizes: what that refuses has none, nor have unforeseen failures.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http" or not str(scope["path"]).startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        service: SpeechService = request.app.state.service

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                room = service.quotas.requests_left(caller(request))
                if room is not None:
                    MutableHeaders(scope=message).update(_headers(room))
            await send(message)

        await self._app(scope, receive, send_told)


def _headers(room: Room) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(room.limit),
        "x-ratelimit-remaining-requests": str(room.remaining),
        "x-ratelimit-reset-requests": duration(room.resets),
    }


def duration(seconds: float) -> str:
    """Time as OpenAI writes it: 250ms, 7.5s, 1m0s."""
    milliseconds = round(seconds * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
