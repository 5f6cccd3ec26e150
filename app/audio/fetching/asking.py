"""Asking for what is at an address: one connection for each hop, and every hop vetted as the first was."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpcore
import httpx

from app.audio.fetching.dialing import CONNECT_SECONDS, VettedBackend
from app.audio.fetching.failures import FetchError
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.requesting import Requester, header
from app.audio.fetching.resolving import QUEUE_SECONDS, RESOLVE_SECONDS

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_BUSY = frozenset({408, 429})


class Asker:
    """Asks servers for recordings."""

    def __init__(
        self, road: Callable[[str], VettedBackend], *, idle_seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """`road` makes a hop's connection for a key, `idle_seconds` is how long a server may think.

        Without `tls`, certificates are trusted that httpx trusts.
        """
        self._requester = Requester(road, tls=tls)
        self._answer_seconds = QUEUE_SECONDS + RESOLVE_SECONDS + CONNECT_SECONDS + idle_seconds

    @asynccontextmanager
    async def answer(self, url: httpx.URL, end: float, key: str) -> AsyncGenerator[httpcore.Response, None]:
        """The first answer that is no redirect, with its body unread. `end` is on the loop's clock, `key` is who asks.

        Raises:
            FetchError: there is none, it is not 200, or its body would have to be unpacked.
            Overloaded: too many names are being looked up.
        """
        clock = asyncio.get_running_loop().time
        for _ in range(MAX_REDIRECTS + 1):
            patience = min(end, clock() + self._answer_seconds)
            async with self._requester.answer("GET", url, patience, key) as response:
                if response.status not in _REDIRECTS:
                    _check(response)
                    yield response
                    return
                url = _next(url, response)
        raise FetchError(f"more than {MAX_REDIRECTS} redirects", told="The recording's address redirects too often.")


def _check(response: httpcore.Response) -> None:
    if response.status != 200:
        told = f"The recording's server answered {response.status}."
        passing = response.status >= 500 or response.status in _TOO_BUSY
        raise FetchError(f"answered {response.status}", told=told, passing=passing)
    if header(response, b"content-encoding").strip().lower() not in {"", "identity"}:
        told = "The recording's server sends it compressed (Content-Encoding) without being asked to."
        raise FetchError("compressed", told=told)


def _next(url: httpx.URL, response: httpcore.Response) -> httpx.URL:
    """Where `response` redirects to.

    Raises:
        FetchError: nowhere that may be asked.
    """
    target = header(response, b"location")
    if not target:
        raise FetchError("redirected to nowhere")
    try:
        return parse_location(target, base=url)
    except LocationError:
        raise FetchError("redirected to what is no http address") from None
