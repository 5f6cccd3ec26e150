"""A recording at an address, into a file, with limits on everything that its server chooses."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import IO, cast

import httpcore

from app.audio.fetching.addresses import Network
from app.audio.fetching.asking import Asker
from app.audio.fetching.dialing import VettedBackend
from app.audio.fetching.failures import FetchError
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.requesting import body_of, header, next_chunk
from app.audio.fetching.resolving import Resolver, SystemResolver
from app.audio.storing import NOT_STORED, not_stored
from app.domain.errors import AddressNotFetched, EmptyAudio, EngineFailure, InvalidParameter, Overloaded, UploadTooLarge
from app.domain.pace import GRACE_SECONDS, LEAST_SPEED

_BLOCK = 1024 * 1024
"""Bytes that are written at once."""
_SPARE_BYTES = 64 * 1024 * 1024
"""What fetched recordings leave free on the disk, for uploads and decoded sound."""
_ROOM_SECONDS = 60.0
"""When it is worth asking again where there was no room."""
_LOGGED_CHARACTERS = 100
"""Of a host's name."""
_logger = logging.getLogger(__name__)


class Fetcher:
    """Fetches recordings. Belongs to one event loop."""

    def __init__(
        self,
        *,
        networks: Collection[Network],
        max_bytes: int,
        seconds: float,
        idle_seconds: float,
        grace_seconds: float = GRACE_SECONDS,
        resolver: Resolver | None = None,
        dialer: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Fetch from public addresses and from `networks`, `max_bytes` at most.

        A recording may take `seconds` in all, `idle_seconds` until more of it arrives, and must not arrive slower than
        LEAST_SPEED after `grace_seconds`. `resolver`, `dialer` and `tls` are the system's where they are not given:
        names to addresses, addresses to connections, and which certificates are trusted.
        """
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._resolver = resolver or SystemResolver()
        system = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

        def road(key: str) -> VettedBackend:
            return VettedBackend(self._resolver, networks, dialer or system, key)

        self._asker = Asker(road, idle_seconds=idle_seconds, tls=tls)

    def close(self) -> None:
        """Resolve no more names. Fetches must have ended."""
        self._resolver.close()

    async def fetch(self, said: str, room: IO[bytes], *, param: str, key: str = "") -> None:
        """Write the recording at the address `said` into `room`. Errors name `param`; `key` is who asks.

        Raises:
            InvalidParameter: `said` is no address to fetch from.
            AddressNotFetched: it cannot be had, or must not.
            UploadTooLarge: it has more than `max_bytes`.
            EmptyAudio: it has none.
            Overloaded: too many names are being looked up, or the disk is nearly full.
            EngineFailure: the disk does not take it.
        """
        try:
            url = parse_location(said)
        except LocationError as error:
            raise InvalidParameter(f"{param} {error}", param=param) from error
        host = url.raw_host.decode("ascii")[:_LOGGED_CHARACTERS]
        end = asyncio.get_running_loop().time() + self._seconds
        try:
            async with self._asker.answer(url, end, key) as response:
                size = await self._receive(response, room, end)
        except FetchError as failure:
            _logger.info("a recording at %s was not fetched: %s", host, failure.reason)
            raise AddressNotFetched(failure.told, param=param, passing=failure.passing) from None
        if size > self._max_bytes:
            _logger.info("a recording at %s was not fetched: too large", host)
            told = f"The recording is larger than this server takes ({self._max_bytes} bytes, MAX_AUDIO_SIZE)."
            raise UploadTooLarge(told, param=param)
        if size == 0:
            raise EmptyAudio("The recording at this address is empty.", param=param)
        _logger.info("fetched %d bytes from %s", size, host)

    async def _receive(self, response: httpcore.Response, room: IO[bytes], end: float) -> int:
        """How many bytes the body has. Not all of them are written, or even read, if they are too many."""
        announced = header(response, b"content-length")
        if announced.isdigit() and int(announced) > self._max_bytes:
            return int(announced)
        await asyncio.to_thread(_check_free, room, int(announced) if announced.isdigit() else 0)
        size, held = 0, bytearray()
        async with aclosing(self._chunks(response, end)) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    return size
                held += chunk
                if len(held) >= _BLOCK:
                    await _write(room, held)
                    held = bytearray()
        await _write(room, held)
        return size

    async def _chunks(self, response: httpcore.Response, end: float) -> AsyncGenerator[bytes, None]:
        """The body, as long as it arrives fast enough."""
        clock = asyncio.get_running_loop().time
        began, size = clock(), 0
        async with aclosing(body_of(response)) as body:
            while True:
                patience = min(end, clock() + self._idle_seconds)
                try:
                    async with asyncio.timeout_at(patience):
                        chunk = await next_chunk(body)
                except TimeoutError:
                    raise self._too_slow(ended=patience == end) from None
                if chunk is None:
                    return
                size += len(chunk)
                elapsed = clock() - began
                if elapsed > self._grace_seconds and size < LEAST_SPEED * elapsed:
                    told = f"The recording's server is slower than {LEAST_SPEED} bytes a second."
                    raise FetchError("too slow", told=told)
                yield chunk
                await asyncio.sleep(0)  # a thousand chunks of a byte come without a wait between them

    def _too_slow(self, *, ended: bool) -> FetchError:
        if ended:
            told = f"The recording was not there after {self._seconds:g} s (AUDIO_ADDRESS_SECONDS)."
            return FetchError("not there in time", told=told)
        told = f"Nothing of the recording arrived for {self._idle_seconds:g} s."
        return FetchError("silent", told=told, passing=True)


def _check_free(room: IO[bytes], coming: int) -> None:
    """That so many bytes may still be written. Others write, too, so it is asked again for each block.

    Raises:
        Overloaded: there is too little left.
        EngineFailure: the disk does not say.
    """
    try:
        free = shutil.disk_usage(Path(room.name).parent).free
    except OSError as error:
        raise EngineFailure(NOT_STORED) from error
    if free < coming + _SPARE_BYTES:
        _logger.warning("a recording was not fetched: the disk of TEMP_DIR is nearly full")
        told = "The server has no room for this recording now. Try again later."
        raise Overloaded(told, retry_after=_ROOM_SECONDS)


async def _write(room: IO[bytes], held: bytearray) -> None:
    def write() -> None:
        _check_free(room, len(held))
        room.write(held)
        room.flush()

    try:
        await asyncio.to_thread(write)
    except OSError as error:
        raise not_stored(error) from error
