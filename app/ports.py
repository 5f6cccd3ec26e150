"""Several ports for one server: applications and other protocols that share one process, one start and one end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, TypeAlias

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.lifespan.on import LifespanOn

from app.domain.errors import PortUnavailable
from app.service.connections import GuardedHttp
from app.service.handshakes import TolerantWebSocket

DRAIN_SECONDS = 30
"""How long requests may take to end once the server is told to stop."""
WEBSOCKET_MESSAGE_BYTES = 24 * 1024 * 1024
"""The largest message: OpenAI's clients may send 15 MiB of sound at once, a third more in base64."""
_BACKLOG = 2048
"""Connections that wait to be accepted (uvicorn's figure)."""
_PASSIVE = socket.AI_PASSIVE
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_TICK_SECONDS = 0.1
"""How long a signal may wait to be noticed (uvicorn's figure)."""
_GIVING_UP_SECONDS = 2.0
"""How long a connection may take to end that is given up."""
_Listeners: TypeAlias = AbstractContextManager[list[socket.socket]]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedApp:
    """An application and the port it is served at. `setting` is what an operator sets the port with, `host_setting`
    the address."""

    app: ASGIApp
    host: str
    port: int
    setting: str
    host_setting: str = "HOST"


@dataclass(frozen=True, slots=True)
class ServedTcp:
    """A protocol over plain TCP, and its port.

    `talk` serves one connection to its end. Once its event is set, the server ends: what has begun may go on, nothing
    new begins. `longest_line` is in bytes: about twice as much is read of a connection before it is wanted.
    """

    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]
    longest_line: int
    host: str
    port: int
    setting: str
    host_setting: str = "HOST"


_Served: TypeAlias = ServedApp | ServedTcp


def serve_all(main: ServedApp, others: Sequence[_Served] = ()) -> None:
    """Serve all of them until SIGINT or SIGTERM.

    Only `main` has a lifespan: it begins before any port answers, and ends after the last request of all ports. On the
    first signal every port stops accepting and lets its requests end, for DRAIN_SECONDS; on a second SIGINT they are
    given up. Then SIGTERM ends the process, as if it had not been caught; after SIGINT this returns.

    Raises:
        PortUnavailable: a port is taken. Nothing has begun by then.
        SystemExit: the lifespan failed to start; the log says why.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listening) for listening in _listening((main, *others))]
        for served in others:
            _logger.info("listening on port %d, too: %s", served.port, served.setting)
        servers = [_server(served) for served in (main, *others)]
        supervisor = _Supervisor(_config(main, "on"), servers, sockets)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))  # what SIGINT becomes once everything has ended
        runner = stack.enter_context(asyncio.Runner(loop_factory=supervisor.config.get_loop_factory()))
        runner.run(supervisor.run_all())


def _server(served: _Served) -> _Server | TcpServer:
    return TcpServer(served) if isinstance(served, ServedTcp) else _Server(_config(served, "off"))


def _config(served: ServedApp, lifespan: Literal["on", "off"]) -> uvicorn.Config:
    return uvicorn.Config(
        served.app,
        host=served.host,
        port=served.port,
        lifespan=lifespan,
        http=GuardedHttp,
        ws=TolerantWebSocket,
        ws_max_size=WEBSOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # sound does not shrink, and texts are short
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _listening(everything: Iterable[_Served]) -> Iterator[_Listeners]:
    """Each port's sockets, one after the other.

    Raises:
        PortUnavailable: two are the same, or one is taken.
    """
    settings: dict[int, str] = {}
    for served in everything:
        if served.port in settings:
            told = f"{served.setting}={served.port} is the port of {settings[served.port]}, too; each needs its own."
            raise PortUnavailable(told)
        settings[served.port] = served.setting
        yield _listeners(served)


@contextlib.contextmanager
def _listeners(served: _Served) -> Generator[list[socket.socket]]:
    """Listening sockets at every address the host stands for ("localhost" has two), closed at the end."""
    with contextlib.ExitStack() as stack:
        found: list[socket.socket] = []
        failure: OSError | None = None
        try:
            addresses = socket.getaddrinfo(served.host or None, served.port, type=socket.SOCK_STREAM, flags=_PASSIVE)
        except (OSError, ValueError) as error:  # not every text can be looked up
            why = (error.strerror if isinstance(error, OSError) else None) or "it cannot be a name"
            told = f"{served.host_setting}={served.host} is no address: {why}."
            raise PortUnavailable(told) from error
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            try:
                listener = stack.enter_context(socket.socket(family, kind, protocol))
                _listen(listener, address)
                found.append(listener)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise PortUnavailable(_told(served, error)) from error
                failure = error  # a machine without IPv6 has names with IPv6 addresses
        if not found:
            raise PortUnavailable(_told(served, failure)) from failure
        yield found


def _listen(listener: socket.socket, address: tuple[Any, ...]) -> None:
    if os.name == "posix":  # elsewhere it would let two programs have the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setblocking(False)
    listener.bind(address)
    listener.listen(_BACKLOG)  # at once: of two programs that only bound it, both would think it theirs


def _told(served: _Served, error: OSError | None) -> str:
    code = error.errno if error else None
    if code == errno.EADDRINUSE:
        return f"{served.setting}={served.port}: another program listens on this port. Stop it, or set another port."
    if code == errno.EACCES:
        return f"{served.setting}={served.port}: this user may not listen on this port. From 1024 up, every user may."
    if code in _NO_SUCH_ADDRESS:
        return f"{served.host_setting}={served.host} is no address of this machine."
    return f"{served.setting}={served.port}: the port cannot be listened on: {error}."


class _Server(uvicorn.Server):
    """One port's server. Signals are the supervisor's: uvicorn would give them to whichever began last."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave them alone."""
        yield


class TcpServer:
    """The same for a plain TCP protocol: it begins, drains and ends as uvicorn's servers do."""

    def __init__(self, served: ServedTcp) -> None:
        self._served = served
        self._talks: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._should_exit = self._force_exit = False

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """A signal: the first ends the server, a second SIGINT gives its connections up."""
        self._force_exit = self._force_exit or (self._should_exit and sig == signal.SIGINT)
        self._should_exit = True

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until told to stop, and let connections end."""
        limit = self._served.longest_line
        servers = [
            await asyncio.start_server(self._accept, sock=listener, limit=limit, backlog=_BACKLOG)
            for listener in sockets
        ]
        while not self._should_exit:  # noqa: ASYNC110 - what a signal's handler sets does not wake the loop
            await asyncio.sleep(_TICK_SECONDS)
        for server in servers:
            server.close()
        for listener in sockets:
            listener.close()
        self._ending.set()
        await self._drain()

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self._talks and not self._force_exit and asyncio.get_running_loop().time() < deadline:
            await asyncio.wait(self._talks, timeout=_TICK_SECONDS)
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks, timeout=_GIVING_UP_SECONDS)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(reader, writer))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._served.talk(reader, writer, self._ending)
        except Exception:  # a connection ends here
            _logger.exception("a connection to %s failed", self._served.setting)
        finally:
            writer.close()


class _Supervisor(uvicorn.Server):
    """All servers as one. It is a server only in how it takes signals, and in its application's lifespan."""

    def __init__(
        self, config: uvicorn.Config, servers: Sequence[_Server | TcpServer], sockets: Sequence[list[socket.socket]]
    ) -> None:
        super().__init__(config)
        self._servers = servers
        self._sockets = sockets

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: every server's."""
        super().handle_exit(sig, frame)
        for server in self._servers:
            server.handle_exit(sig, frame)

    async def run_all(self) -> None:
        """Serve until told to stop."""
        with self.capture_signals():
            lifespan = LifespanOn(self.config)
            await lifespan.startup()
            if lifespan.should_exit:
                sys.exit(STARTUP_FAILURE)
            async with asyncio.TaskGroup() as group:
                for server, sockets in zip(self._servers, self._sockets, strict=True):
                    group.create_task(server.serve(sockets))
            if not self.force_exit:  # else it is cancelled with the loop
                await lifespan.shutdown()
