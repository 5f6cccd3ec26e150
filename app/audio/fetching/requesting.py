"""One request to one server, over a connection of its own to an address that was vetted.

Nothing here could leak from one request into another: no pool, no cookies, no credentials. Proxies and passwords in the
environment are not looked at.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httpcore
import httpx

from app import __version__
from app.audio.fetching.dialing import ForbiddenError, VettedBackend
from app.audio.fetching.failures import FetchError
from app.audio.fetching.locations import port_of
from app.audio.fetching.resolving import UnresolvedError

_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError)
"""All that a server or the way to it can do. (TLS that breaks later on is an OSError; a name that resolves and that TLS
takes for none is a ValueError.)"""


class Requester:
    """Asks servers, one thing each."""

    def __init__(self, road: Callable[[str], VettedBackend], *, tls: ssl.SSLContext | None = None) -> None:
        """`road` makes a request's connection for a key. Without `tls`, certificates are trusted that httpx trusts."""
        self._road = road
        self._tls = tls

    @asynccontextmanager
    async def answer(
        self,
        method: str,
        url: httpx.URL,
        end: float,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncGenerator[httpcore.Response, None]:
        """The answer, whatever it is, with its body unread. `url` is parse_location's, `end` is on the loop's clock and
        bounds all until then, `key` is who asks. `headers` come on top of those that every request has.

        Raises:
            FetchError: there is none.
            Overloaded: too many names are being looked up.
        """
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
        tls = await self._context() if url.scheme == "https" else None
        request = httpcore.Request(method, target, headers=_headers(url, headers or {}, body), content=body)
        async with (
            self._road(key) as road,
            httpcore.AsyncHTTPConnection(target.origin, ssl_context=tls, network_backend=road) as connection,
        ):
            response = await _response(connection, request, end)
            try:
                yield response
            finally:
                await response.aclose()

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # it reads a hundred certificates
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        return self._tls


def body_of(response: httpcore.Response) -> AsyncGenerator[bytes, None]:
    """The answer's own generator: `aiter_stream` would not close it at once."""
    stream = cast("AsyncIterable[bytes]", response.stream)
    return cast("AsyncGenerator[bytes, None]", aiter(stream))


async def next_chunk(body: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next bytes of an answer's body, as they were sent; None at its end.

    Raises:
        FetchError: it broke off.
    """
    try:
        return await anext(body, None)
    except _BROKEN as error:
        told = "The recording's server broke off."
        raise FetchError(f"broken off ({type(error).__name__})", told=told, passing=True) from None


def header(response: httpcore.Response, name: bytes) -> str:
    """A header's value, "" where it is not there; the first where there are several."""
    return next((value.decode(errors="replace") for key, value in response.headers if key.lower() == name), "")


async def _response(
    connection: httpcore.AsyncHTTPConnection, request: httpcore.Request, end: float
) -> httpcore.Response:
    try:
        async with asyncio.timeout_at(end):
            return await connection.handle_async_request(request)
    except UnresolvedError:
        raise FetchError("its name has no address") from None
    except ForbiddenError:
        raise FetchError("its name has an address that must not be reached") from None
    except TimeoutError:
        raise FetchError("no answer in time") from None
    except _BROKEN as error:
        raise FetchError(f"no connection or no answer ({type(error).__name__})") from None


def _headers(url: httpx.URL, own: Mapping[str, str], body: bytes | None) -> list[tuple[bytes, bytes]]:
    length = [] if body is None else [(b"Content-Length", str(len(body)).encode())]
    return [
        (b"Host", url.netloc),
        (b"User-Agent", f"speech-server/{__version__}".encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),  # what is packed could unpack to anything
        (b"Connection", b"close"),
        *length,
        *((name.encode("ascii"), value.encode("ascii")) for name, value in own.items()),
    ]
