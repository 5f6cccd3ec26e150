"""Sending something to an address that somebody named: a connection of its own, to where it was vetted to go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, cast

import httpcore

from app.audio.fetching.addresses import Network
from app.audio.fetching.dialing import VettedBackend
from app.audio.fetching.failures import FetchError
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.requesting import Requester, body_of, header, next_chunk
from app.audio.fetching.resolving import Resolver, SystemResolver

POST_SECONDS: Final = 15.0
_MOST_READ: Final = 64 * 1024
"""Bytes of an answer's body that are taken in, so that its sender is not cut off in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered. `retry_after` is in how many seconds it wants to be asked again; None where it says
    nothing of that, or says it as a date."""

    status: int
    retry_after: float | None = None


class Poster:
    """Sends things to addresses. Belongs to one event loop."""

    def __init__(
        self,
        *,
        networks: Collection[Network],
        seconds: float = POST_SECONDS,
        resolver: Resolver | None = None,
        dialer: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Send to public addresses and to those in `networks`, each thing within `seconds` in all.

        `resolver`, `dialer` and `tls` are the system's where they are not given: names to addresses, addresses to
        connections, and which certificates are trusted.
        """
        self._seconds = seconds
        self._resolver = resolver or SystemResolver()
        system = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

        def road(key: str) -> VettedBackend:
            return VettedBackend(self._resolver, networks, dialer or system, key)

        self._requester = Requester(road, tls=tls)

    def close(self) -> None:
        """Resolve no more names. What is being sent must have ended."""
        self._resolver.close()

    async def post(self, said: str, body: bytes, headers: Mapping[str, str], *, key: str = "") -> Answer:
        """Send `body` to the address `said`. A redirect is an answer like any. `headers` are ASCII, `key` is who sends.

        Raises:
            FetchError: `said` is no address, must not be reached, or nothing was answered there in time.
            Overloaded: too many names are being looked up.
        """
        try:
            url = parse_location(said)
        except LocationError:
            raise FetchError("it is no address to send to") from None
        end = asyncio.get_running_loop().time() + self._seconds
        async with self._requester.answer("POST", url, end, key, headers=headers, body=body) as response:
            await _drop_body(response, end)
            after = header(response, b"retry-after").strip()
            return Answer(response.status, float(after) if after.isdecimal() and after.isascii() else None)


async def _drop_body(response: httpcore.Response, end: float) -> None:
    """Take in what the receiver says, as far as it is worth while. Whatever becomes of that, it has answered."""
    size = 0
    try:
        async with asyncio.timeout_at(end), aclosing(body_of(response)) as body:
            while size <= _MOST_READ and (chunk := await next_chunk(body)) is not None:
                size += len(chunk)
    except (FetchError, TimeoutError):
        return
