"""One stream of sound on a connection of its own, whatever the dialect: played at any pace, with all that is said of
it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from tools.dialects.hearing import Frame, Heard, Said, StreamFailedError, UnspeakableError, Wishes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

RATE = 16_000
"""Hz of the sound to be played, unless a session is told another."""
FRAME = 0.1
"""Seconds of sound in a message."""
PATIENCE = 60.0
"""Seconds a started or stopped session may take to be confirmed."""
_BEGUN, _FINISHED = "begun", "finished"

Tell = Callable[[Said], None]


class Session(ABC):
    """An async context manager, which has begun when it is entered.

    `url` is where the server answers; without a path it is the dialect's own, and without a port, for dialects that
    have one of their own, theirs. `tell` is called with everything that is said, at once.

    Raises:
        UnspeakableError: the dialect cannot say a wish.
        StreamFailedError: the server is not there, or refused.
    """

    path: ClassVar[str] = ""
    port: ClassVar[int | None] = None
    """Its own, where it does not share the server's."""
    can_say: ClassVar[frozenset[str]] = frozenset()
    """The fields of Wishes that mean something to it; `guesses` may be wished of all."""
    half_a_message: ClassVar[bytes] = b""
    """A beginning of a message with sound, as bytes on the wire."""

    def __init__(self, url: str, wishes: Wishes | None = None, *, rate: int = RATE, tell: Tell | None = None) -> None:
        self.wishes = wishes or Wishes()
        check(type(self), self.wishes)
        self.rate = rate
        self.heard = Heard()
        self._address = _address(url)
        self._tell = tell
        self._reached: set[str] = set()
        self._news = asyncio.Event()
        self._failure: StreamFailedError | None = None
        self._over = False

    async def play(self, samples: Sixteen, pace: float | None = None) -> None:
        """Send sound in frames: `pace` times as fast as it was recorded, or as fast as the server takes it.

        Raises:
            StreamFailedError: the server gave up meanwhile.
        """
        size = round(FRAME * self.rate)
        before = self.heard.seconds
        began = time.perf_counter()
        for first in range(0, len(samples), size):
            chunk = samples[first : first + size]
            seconds = (first + len(chunk)) / self.rate
            due = began + seconds / pace if pace else None
            if due is not None and (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            if self._failure:
                raise self._failure
            sent = time.perf_counter()
            try:
                await self._sound(chunk.astype("<i2").tobytes())
            except ConnectionError as error:
                raise await self._why(error) from error
            self.heard.frames.append(Frame(before + seconds, due or sent, sent))

    async def stop(self, patience: float = PATIENCE) -> Heard:
        """Say that there is no more, and wait for all there is to hear.

        Raises:
            StreamFailedError: the server gave up, or took longer than `patience`.
        """
        await self.leave()
        await self._until(_FINISHED, patience)
        return self.heard

    async def leave(self) -> None:
        """Say that there is no more, and wait for nothing."""
        self.heard.stopped = time.perf_counter()
        try:
            await self._end()
        except ConnectionError as error:
            raise await self._why(error) from error

    async def until_over(self, patience: float = PATIENCE) -> StreamFailedError | None:
        """Say nothing more, and wait until the server ends the connection; why, where that is not how streams end.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(patience):
            await asyncio.shield(self._reading)
        return self._failure

    def vanish(self, *, reset: bool, within: bytes = b"") -> None:
        """End the connection without a word, as a client does whose network or process has died; after the bytes
        `within`, the beginning of a message."""
        transport = self._transport
        if within and not transport.is_closing():
            transport.write(within)
        if reset and not transport.is_closing():
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def knock(self) -> None:
        """Connect, say nothing, and vanish; instead of entering it. Raises StreamFailedError."""
        await self._connect()
        self._transport.abort()

    async def __aenter__(self) -> Self:
        await self._connect()
        self._reading = asyncio.create_task(self._read_to_the_end())
        try:
            await self._begin()
        except BaseException as error:
            await self._close()
            if isinstance(error, ConnectionError):
                raise self._failure or StreamFailedError("closed", f"the connection ended: {error}") from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._disconnect()
        await self._reading

    # What a transport does.

    @property
    @abstractmethod
    def _transport(self) -> asyncio.WriteTransport: ...

    @abstractmethod
    async def _connect(self) -> None:
        """Open the connection. Raises StreamFailedError."""

    @abstractmethod
    async def _disconnect(self) -> None: ...

    @abstractmethod
    async def _read(self) -> None:
        """Give everything that arrives to the dialect, until the connection ends. A message that it cannot read may
        raise what a careless look at JSON raises."""

    # What a dialect does.

    @abstractmethod
    async def _begin(self) -> None:
        """Start the stream, and wait until it has been started. Raises StreamFailedError, ConnectionError."""

    @abstractmethod
    async def _sound(self, data: bytes) -> None:
        """Send samples. Raises ConnectionError."""

    @abstractmethod
    async def _end(self) -> None:
        """Say that there is no more. Raises ConnectionError."""

    # What they are given.

    @property
    def _where(self) -> SplitResult:
        """The address with the dialect's path, and with its port."""
        address = self._address
        if address.port is None and self.port is not None:
            address = address._replace(netloc=f"{address.netloc.rstrip(':')}:{self.port}")
        if address.path in {"", "/"}:
            path, _, query = self.path.partition("?")
            address = address._replace(
                path=path or "/", query="&".join(part for part in (query, address.query) if part)
            )
        return address

    def _say(self, said: Said) -> None:
        self.heard.events.append(said)
        if self._tell:
            self._tell(said)

    def _has_begun(self) -> None:
        self._reached.add(_BEGUN)
        self._news.set()

    def _has_finished(self) -> None:
        self.heard.finished = min(self.heard.finished, time.perf_counter())
        self._reached.add(_FINISHED)
        self._news.set()

    def _has_failed(self, status: int | str, reason: str) -> None:
        self._failure = self._failure or StreamFailedError(status, reason)
        self._news.set()

    async def _until_begun(self) -> None:
        await self._until(_BEGUN, PATIENCE)

    async def _until(self, mark: str, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                while True:
                    self._news.clear()
                    if self._failure:
                        raise self._failure
                    if mark in self._reached:
                        return
                    if self._over:
                        raise StreamFailedError("closed", f"the connection ended before the stream had {mark}")
                    await self._news.wait()
        except TimeoutError as error:
            raise StreamFailedError("late", f"the stream had not {mark} within {patience:g} s") from error

    async def _why(self, error: ConnectionError) -> StreamFailedError:
        """Why nothing can be sent any more: what the server said before it closed, if it said something."""
        await asyncio.wait([self._reading], timeout=PATIENCE)
        return self._failure or StreamFailedError("closed", f"the connection ended: {error}")

    async def _read_to_the_end(self) -> None:
        try:
            await self._read()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            self._has_failed(
                "closed", f"the server said what this client cannot read ({type(error).__name__}: {error})"
            )
        finally:  # also when whoever is told fails: `_close` raises it
            self._over = True
            self._news.set()


def _address(url: str) -> SplitResult:
    """Raises StreamFailedError."""
    try:
        address = urlsplit(url if "://" in url else f"http://{url}")
        if address.hostname and address.port != 0:  # a port that is no number is told when it is looked at
            return address
    except ValueError:
        pass
    raise StreamFailedError("unreachable", f"{url!r} is no address: http://HOST:PORT is expected")


def check(dialect: type[Session], wishes: Wishes) -> None:
    """Raises UnspeakableError if there is a wish that means nothing in this dialect."""
    fields = ("language", "model", "hotwords", "token", "silence", "speakers")
    for name in fields:
        if getattr(wishes, name) and name not in dialect.can_say:
            raise UnspeakableError(f"this protocol has no way to say: {name}")
