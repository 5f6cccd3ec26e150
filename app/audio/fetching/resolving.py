"""Names to addresses, off the event loop and in limited time."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import Protocol

from app.audio.fetching.addresses import Address
from app.domain.errors import Overloaded

RESOLVE_SECONDS = 10.0
QUEUE_SECONDS = 5.0
"""How long a name waits for its turn."""
_THREADS = 8
"""Of its own: whoever runs a name server can hold them for as long as the system asks again, and only them."""
_OF_A_KEY = _THREADS // 2
"""And who names such names holds half of them at most."""


class UnresolvedError(Exception):
    """The name has no addresses, or none that were told in time."""


class Resolver(Protocol):
    """Where addresses come from."""

    async def resolve(self, host: str, key: str) -> Sequence[Address]:
        """All addresses of `host`, which may be an address already, in the order to try them. `key` is who asks.

        Raises:
            UnresolvedError: there are none.
            Overloaded: too many names are being looked up.
        """
        ...

    def close(self) -> None:
        """Resolve no more."""
        ...


class SystemResolver:
    """The system's own: hosts file, name servers, and every way it knows to write an address as a number."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")
        self._places = asyncio.Semaphore(_THREADS)
        self._places_of: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_OF_A_KEY))

    async def resolve(self, host: str, key: str) -> Sequence[Address]:
        """See Resolver."""
        if (known := as_number(host)) is not None:
            return known
        await self._take_place(key)
        asked = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
        asked.add_done_callback(partial(self._free_place, key))
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                return await asyncio.shield(asked)  # the thread goes on, and keeps its place
        except (OSError, ValueError) as error:  # time-outs are the former; names that cannot be names the latter
            raise UnresolvedError from error

    def close(self) -> None:
        """See Resolver. A look-up that still goes on is left to end by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take_place(self, key: str) -> None:
        of_key = self._places_of[key]
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await of_key.acquire()
                try:
                    await self._places.acquire()
                except BaseException:
                    of_key.release()
                    raise
        except TimeoutError:
            told = "Too many recordings are being looked for at addresses. Try again shortly."
            raise Overloaded(told, retry_after=RESOLVE_SECONDS) from None

    def _free_place(self, key: str, ended: asyncio.Future[list[Address]]) -> None:
        self._places.release()
        self._places_of[key].release()
        if not ended.cancelled():
            ended.exception()  # whoever asked may have left, and then asyncio would log it


def as_number(host: str) -> list[Address] | None:
    """The address that `host` is, in any spelling the system knows; None where it is a name. Nobody is asked."""
    try:
        return _addresses(host, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return None


def _look_up(host: str) -> list[Address]:
    return _addresses(host, 0)


def _addresses(host: str, flags: int) -> list[Address]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return [ip_address(_with_zone(answer[4])) for answer in answers]


def _with_zone(place: tuple[object, ...]) -> str:
    """The address in `place`, with its zone if it has one, which getaddrinfo tells beside it."""
    zone = place[3] if len(place) == 4 else 0
    return f"{place[0]}%{zone}" if zone and "%" not in str(place[0]) else str(place[0])
