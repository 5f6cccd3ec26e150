"""One connection of Wyoming's: the events that come, and sending to somebody who may have gone."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress

from app.protocols.wyoming.events import Event, encode, read_event

_SEND_SECONDS = 30.0
"""An event that a client has not taken in so long is not taken at all."""
_FAREWELL_SECONDS = 5.0
"""How long a client that is told goodbye may go on talking: closing earlier could take the goodbye from it."""
_PIECE = 64 * 1024
_NEARBY = tuple(
    map(
        ipaddress.ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
            *("::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)
"""This machine, private networks, and those that machines give themselves."""


class Link:
    """One task reads it, any may send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._receiving: asyncio.Task[Event | None] | None = None
        self._unheard = False
        self.gone = False

    @property
    def address(self) -> str:
        """Where the client is, "" if that cannot be told."""
        peer: object = self._writer.get_extra_info("peername")
        return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else ""

    @property
    def nearby(self) -> bool:
        """Whether the client's address is one of a private network."""
        try:
            address = ipaddress.ip_address(self.address) if self.address else None
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return address is not None and any((mapped or address) in network for network in _NEARBY)

    @property
    def hung_up(self) -> bool:
        """Whether the connection is over, and not just what the client sends."""
        return self._writer.transport.is_closing()

    @property
    def clogged(self) -> bool:
        """Whether the client does not take in what it was sent; Home Assistant reads nothing before it has said all."""
        return self._writer.transport.get_write_buffer_size() > 0

    def receiving(self) -> asyncio.Task[Event | None]:
        """The event that is on its way; None when the client has gone. It stays the same until `received`."""
        # Kept: a read that is cancelled loses what it has of an event.
        if self._receiving is None:
            self._receiving = asyncio.create_task(read_event(self._reader))
        return self._receiving

    def received(self) -> Event | None:
        """The event that has come; the next is on its way.

        Raises:
            InvalidParameter: it is no event.
        """
        receiving, self._receiving = self.receiving(), None
        event = receiving.result()
        self.gone = self.gone or event is None
        return event

    async def send(self, *events: Event) -> None:
        """Send them. Nothing happens once the client has gone."""
        if self.gone:
            return
        try:
            self._writer.write(b"".join(map(encode, events)))
            async with asyncio.timeout(_SEND_SECONDS):
                await self._writer.drain()
        except (OSError, RuntimeError):  # TimeoutError is an OSError; uvloop has the other for what is over
            self.gone = self._unheard = True

    async def part(self) -> None:
        """End what is sent, and let the client notice: what it still says is thrown away, for a while."""
        await self._stop_receiving()
        if self._unheard:
            return
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._reader.read(_PIECE):
                    pass

    async def aclose(self) -> None:
        """End the connection. What was sent still goes out, if the client takes it in soon."""
        await self._stop_receiving()
        self.gone = True
        if self._unheard:
            self._writer.transport.abort()
        self._writer.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._writer.wait_closed()
        except (OSError, RuntimeError):
            self._writer.transport.abort()

    async def _stop_receiving(self) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
