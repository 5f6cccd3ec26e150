"""OpenAI's paths as clients spell them: without /v1, behind /openai/v1, with what a base already has once more."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

_AUDIO = re.compile(
    r"(?:/openai)?(?:/v1)*(?P<last>/audio/(?:transcriptions|translations))(?:(?:/openai)?(?:/v1)*(?P=last))*"
)
"""Some append the whole path to whatever their users give as a base, which may be the whole path itself."""
_OTHERS = re.compile(r"(?:/openai)?(?:/v1)*(?P<rest>/(?:models|realtime)(?:/.+)?)")
_PREFIXED = re.compile(r"/openai(?:/v1)+(?P<rest>/.+)")
_SLASHES = re.compile(r"//+")


class Spellings:
    """Answers requests for a path that is spelled differently as those for the right one.

    To be put before whatever looks at paths: a key that the right path needs is needed for all of its spellings.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] in {"http", "websocket"} and (path := right_path(scope["path"])) != scope["path"]:
            scope = {**scope, "path": path, "raw_path": quote(path, errors="surrogateescape").encode("ascii")}
        await self._app(scope, receive, send)


def right_path(path: str) -> str:
    """The path that is meant; the same one where it is none of OpenAI's."""
    plain = _SLASHES.sub("/", path).rstrip("/")
    if found := _AUDIO.fullmatch(plain):
        return f"/v1{found['last']}"
    if found := _OTHERS.fullmatch(plain) or _PREFIXED.fullmatch(plain):
        return f"/v1{found['rest']}"
    return path
