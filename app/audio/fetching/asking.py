"""Asking for what is at an address: one connection for each hop, and every hop vetted as the first was.

Nothing here could leak from one request into another: no pool, no cookies, no credentials. Proxies and passwords in the
environment are not looked at.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpcore
import httpx

from app import __version__
from app.audio.fetching.dialing import CONNECT_SECONDS, ForbiddenError, VettedBackend
from app.audio.fetching.failures import FetchError
from app.audio.fetching.locations import LocationError, parse_location, port_of
from app.audio.fetching.resolving import QUEUE_SECONDS, RESOLVE_SECONDS, UnresolvedError

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError)
"""All that a server or the way to it can do. (TLS that breaks later on is an OSError; a name that resolves and that TLS
takes for none is a ValueError.)"""


class Asker:
    """Asks servers for recordings."""

    def __init__(
        self, road: Callable[[str], VettedBackend], *, idle_seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """`road` makes a hop's connection for a key, `idle_seconds` is how long a server may think.

        Without `tls`, certificates are trusted that httpx trusts.
        """
        self._road = road
        self._answer_seconds = QUEUE_SECONDS + RESOLVE_SECONDS + CONNECT_SECONDS + idle_seconds
        self._tls = tls

    @asynccontextmanager
    async def answer(self, url: httpx.URL, end: float, key: str) -> AsyncGenerator[httpcore.Response, None]:
        """The first answer that is no redirect, with its body unread. `end` is on the loop's clock, `key` is who asks.

        Raises:
            FetchError: there is none, it is not 200, or its body would have to be unpacked.
            Overloaded: too many names are being looked up.
        """
        for _ in range(MAX_REDIRECTS + 1):
            async with self._asked(url, end, key) as response:
                if response.status not in _REDIRECTS:
                    _check(response)
                    yield response
                    return
                url = _next(url, response)
        raise FetchError(f"more than {MAX_REDIRECTS} redirects", told="The recording's address redirects too often.")

    @asynccontextmanager
    async def _asked(self, url: httpx.URL, end: float, key: str) -> AsyncGenerator[httpcore.Response, None]:
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
        tls = await self._context() if url.scheme == "https" else None
        async with (
            self._road(key) as road,
            httpcore.AsyncHTTPConnection(target.origin, ssl_context=tls, network_backend=road) as connection,
        ):
            response = await self._response(connection, httpcore.Request("GET", target, headers=_headers(url)), end)
            try:
                yield response
            finally:
                await response.aclose()

    async def _response(
        self, connection: httpcore.AsyncHTTPConnection, request: httpcore.Request, end: float
    ) -> httpcore.Response:
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(min(end, clock() + self._answer_seconds)):
                return await connection.handle_async_request(request)
        except UnresolvedError:
            raise FetchError("its name has no address") from None
        except ForbiddenError:
            raise FetchError("its name has an address that must not be reached") from None
        except TimeoutError:
            raise FetchError("no answer in time") from None
        except _BROKEN as error:
            raise FetchError(f"no connection or no answer ({type(error).__name__})") from None

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # it reads a hundred certificates
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        return self._tls


async def next_chunk(body: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next bytes of an answer's body, as they were sent; None at its end.

    Raises:
        FetchError: it broke off.
    """
    try:
        return await anext(body, None)
    except _BROKEN as error:
        raise FetchError(f"broken off ({type(error).__name__})", told="The recording's server broke off.") from None


def header(response: httpcore.Response, name: bytes) -> str:
    """A header's value, "" where it is not there; the first where there are several."""
    return next((value.decode(errors="replace") for key, value in response.headers if key.lower() == name), "")


def _headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", url.netloc),
        (b"User-Agent", f"speech-server/{__version__}".encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),  # what is packed could unpack to anything
        (b"Connection", b"close"),
    ]


def _check(response: httpcore.Response) -> None:
    if response.status != 200:
        told = f"The recording's server answered {response.status}."
        raise FetchError(f"answered {response.status}", told=told)
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
