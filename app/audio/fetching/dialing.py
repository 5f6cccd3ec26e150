"""Connections that go where they were vetted to go: a name is resolved once, and never again by anything below."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

import httpcore

from app.audio.fetching.addresses import Address, Network, may_reach, plain
from app.audio.fetching.resolving import Resolver, UnresolvedError

CONNECT_SECONDS = 10.0
MAX_TRIED = 4
"""Addresses of one name that are tried, one after another."""


class ForbiddenError(Exception):
    """The name has an address that must not be reached."""


class VettedBackend(httpcore.AsyncNetworkBackend):
    """Opens the connection of one hop for httpcore, to an address that may be reached and to no other.

    TLS is not done here: httpcore checks the certificate against the name, whatever the address. A context manager:
    leaving it closes what was opened, which httpcore leaves open where a handshake is cancelled.
    """

    def __init__(
        self, resolver: Resolver, networks: Collection[Network], dialer: httpcore.AsyncNetworkBackend, key: str
    ) -> None:
        """`dialer` is given addresses only, never names; `key` is who asks."""
        self._key = key
        self._resolver = resolver
        self._networks = networks
        self._dialer = dialer
        self._opened: list[httpcore.AsyncNetworkStream] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature; CONNECT_SECONDS is what counts
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `host`, all of whose addresses must be reachable ones: no answer shall be half trusted.

        Raises:
            UnresolvedError: it has no address.
            ForbiddenError: it has one that must not be reached.
            Overloaded: too many names are being looked up.
            httpcore.ConnectError: none of them answers.
        """
        addresses = await self._resolver.resolve(host, self._key)
        if not addresses:
            raise UnresolvedError
        if not all(may_reach(address, self._networks) for address in addresses):
            raise ForbiddenError
        return await self._first([*dict.fromkeys(map(plain, addresses))][:MAX_TRIED], port)

    async def _first(self, addresses: Sequence[Address], port: int) -> httpcore.AsyncNetworkStream:
        clock = asyncio.get_running_loop().time
        end = clock() + CONNECT_SECONDS
        for place, address in enumerate(addresses):
            share = (end - clock()) / (len(addresses) - place)
            try:
                stream = await self._dialer.connect_tcp(str(address), port, timeout=share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            self._opened.append(stream)
            return stream
        raise httpcore.ConnectError("no address of it answers")
