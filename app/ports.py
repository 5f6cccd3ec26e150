"""Several ports for one server: applications and other protocols that share one process, one start and one end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import FrameType
from typing import Literal, TypeAlias

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.lifespan.on import LifespanOn

from app.domain.errors import PortUnavailable
from app.service.connections import FIRST_REQUEST_SECONDS, Crowd, Door, GuardedHttp
from app.service.encrypted import EncryptedListeners
from app.service.handshakes import TolerantWebSocket
from app.service.hard_end import HardEnd
from app.service.lifecycle import Lifecycle, Phase
from app.service.listening import BACKLOG, let_in_who_waits, listening

WEBSOCKET_MESSAGE_BYTES = 24 * 1024 * 1024
"""The largest message: OpenAI's clients may send 15 MiB of sound at once, a third more in base64."""
_TICK_SECONDS = 0.1
"""How long a signal may wait to be noticed (uvicorn's figure)."""
_GIVING_UP_SECONDS = 2.0
"""How long connections may take to end that are given up."""
_LAST_ANSWER_SECONDS = 0.8
"""How long requests may take to tell so, which are half of what a second signal allows for everything."""
_LAST_WORDS_SECONDS, _LAST_WORDS_SHARE = 5.0, 1 / 2
"""How long before they are given up live streams are told to end, and the most of the whole time that this may be."""
_Listeners: TypeAlias = AbstractContextManager[list[socket.socket]]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedApp:
    """An application and the port it is served at. `setting` is what an operator sets the port with, `host_setting`
    the address. `proxies` (addresses, networks) are believed about whom they forward."""

    app: ASGIApp
    host: str
    port: int
    setting: str
    host_setting: str = "HOST"
    proxies: Sequence[str] = ()


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


@dataclass(frozen=True, slots=True)
class Ending:
    """How the server ends, in seconds. For `delay` after the first signal its ports still listen; then what has begun
    may go on for `patience`."""

    delay: float = 0.0
    patience: float = 30.0

    @property
    def last_words(self) -> float:
        """How much of `patience` live streams have to tell what was heard, once they are told to end."""
        return min(_LAST_WORDS_SECONDS, self.patience * _LAST_WORDS_SHARE)


_Served: TypeAlias = ServedApp | ServedTcp


def serve_all(
    main: ServedApp,
    others: Sequence[_Served] = (),
    *,
    ending: Ending | None = None,
    lifecycle: Lifecycle | None = None,
    tls: ssl.SSLContext | None = None,
    most_connections: int | None = None,
) -> None:
    """Serve all of them until SIGINT or SIGTERM, and tell `lifecycle` where that stands.

    Only `main` has a lifespan: it begins before any port answers, and ends after the last request of all ports. On the
    first signal every port goes on for `ending`'s delay, then stops accepting and lets its requests end, for its
    patience; on a second signal, whichever, they are given up, and the process ends by that signal. After the first,
    SIGTERM ends the process, as if it had not been caught; after SIGINT this returns. `tls` goes for applications.

    Raises:
        PortUnavailable: a port is taken. Nothing has begun by then.
        SystemExit: the lifespan failed to start; the log says why.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listeners) for listeners in _listening((main, *others))]
        for served in others:
            _logger.info("listening on port %d, too: %s", served.port, served.setting)
        lifecycle, crowd = lifecycle or Lifecycle(), Crowd(most_connections)
        servers = [
            TcpServer(served, crowd)
            if isinstance(served, ServedTcp)
            else AppServer(_config(served, "off"), Door(lifecycle, crowd), tls)
            for served in (main, *others)
        ]
        supervisor = _Supervisor(_config(main, "on"), servers, sockets, ending or Ending(), lifecycle)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))  # what SIGINT becomes once everything has ended
        runner = stack.enter_context(asyncio.Runner(loop_factory=supervisor.config.get_loop_factory()))
        runner.run(supervisor.run_all())


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
        forwarded_allow_ips=list(served.proxies),
        backlog=BACKLOG,
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
        yield listening(served.host, served.port, served.setting, served.host_setting)


class AppServer(uvicorn.Server):
    """One application's port. Its life is the supervisor's affair."""

    def __init__(self, config: uvicorn.Config, door: Door, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(config)
        self.server_state = self._door = door
        self._tls = tls
        self._encrypted: EncryptedListeners | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._closed_at = 0.0

    async def begin(self, sockets: list[socket.socket]) -> None:
        """Answer from here on."""
        if not self.config.loaded:
            self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        if self._tls is None or sys.platform == "win32":  # whose event loop has no readers
            self.config.ssl = self._tls
            await self.startup(sockets)
        else:
            self.servers = []
            self._encrypted = EncryptedListeners(self._tls, self._speak, self._door)
            for listener in sockets:
                self._encrypted.add(listener)
        # Until the process ends: it also keeps the date that answers carry.
        self._ticking = asyncio.create_task(self.main_loop())

    def _speak(self) -> GuardedHttp:
        return GuardedHttp(config=self.config, server_state=self._door, app_state=self.lifespan.state)

    def drain(self) -> None:
        """The server will end: whoever is answered is to connect anew, and finds another one."""
        for connection in list(self._door.connections):
            if isinstance(connection, GuardedHttp):
                connection.drain()

    def close(self) -> None:
        """Stop listening; connections that nothing goes on at end."""
        self._closed_at = time.monotonic()
        if self._encrypted is not None:
            self._encrypted.close()
        for server in self.servers:
            server.close()
        for connection in list(self._door.connections):
            connection.shutdown()

    @property
    def busy(self) -> bool:
        """Whether something goes on."""
        arriving = bool(self._door.arriving) and time.monotonic() < self._closed_at + FIRST_REQUEST_SECONDS
        return arriving or bool(self._door.connections or self._door.tasks)

    async def give_up(self) -> None:
        """End what still goes on, for which there are some seconds."""
        for connection in list(self._door.connections):
            if isinstance(connection, TolerantWebSocket):
                connection.give_up()
        await asyncio.sleep(_TICK_SECONDS)  # those who serve them have noticed
        if self._door.tasks:
            _logger.warning("%d requests are given up", len(self._door.tasks))
        for task in list(self._door.tasks):
            task.cancel()
        await _while(lambda: bool(self._door.tasks), _LAST_ANSWER_SECONDS)
        for connection in list(self._door.connections):
            if isinstance(connection, GuardedHttp):
                connection.part()
            else:
                connection.transport.close()


class TcpServer:
    """The same for a plain TCP protocol. It can also `serve` without a supervisor."""

    def __init__(self, served: ServedTcp, crowd: Crowd | None = None) -> None:
        self._served = served
        self._crowd = crowd or Crowd()
        self._servers: list[asyncio.Server] = []
        self._talks: set[asyncio.Task[None]] = set()
        self._crowd.count(self._talks)
        self._ending = asyncio.Event()
        self._told: list[int] = []

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """A signal, where there is no supervisor: the first ends the server, the second gives its connections up."""
        self._told.append(sig)

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Answer until told to stop, and let connections end."""
        await self.begin(sockets)
        await _while(lambda: not self._told, math.inf)
        self.close()
        await _while(lambda: self.busy and len(self._told) == 1, Ending().patience)
        await self.give_up()
        await _while(lambda: self.busy, _GIVING_UP_SECONDS)

    async def begin(self, sockets: list[socket.socket]) -> None:
        """Answer from here on."""
        limit = self._served.longest_line
        for listener in sockets:
            server = await asyncio.start_server(self._accept, sock=listener, limit=limit, backlog=BACKLOG)
            self._servers.append(server)

    def drain(self) -> None:
        """Nothing to say: no connection is told that it is the last."""

    def close(self) -> None:
        """Stop listening; connections that nothing goes on at end."""
        for server in self._servers:
            server.close()
        self._ending.set()

    @property
    def busy(self) -> bool:
        """Whether something goes on."""
        return bool(self._talks)

    async def give_up(self) -> None:
        """End what still goes on, for which there are some seconds."""
        for talk in list(self._talks):
            talk.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(reader, writer))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        if self._crowd.beyond:  # there is no answer that all such protocols have
            task.cancel()
            writer.close()

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
        self,
        config: uvicorn.Config,
        servers: Sequence[AppServer | TcpServer],
        sockets: Sequence[list[socket.socket]],
        ending: Ending,
        lifecycle: Lifecycle,
    ) -> None:
        super().__init__(config)
        self._servers = servers
        self._sockets = sockets
        self._ending = ending
        self._lifecycle = lifecycle
        self._hard_end = HardEnd()
        self._told: list[int] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first ends the server, the second gives up what goes on."""
        self._told.append(sig)  # at once: the next one's handler may run in the middle of this one
        if not self.should_exit:
            super().handle_exit(sig, frame)
            self._lifecycle.drain()
        if len(self._told) > 1:
            self.force_exit = True
            self._hard_end.demand(sig)

    async def run_all(self) -> None:
        """Serve until told to stop, and end."""
        if threading.current_thread() is threading.main_thread():
            # What uvicorn finds here it puts back, and ends the process by: not by what start.py listens with.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.capture_signals():
            self._hard_end.watch()
            lifespan = LifespanOn(self.config)
            await lifespan.startup()
            if lifespan.should_exit:
                sys.exit(STARTUP_FAILURE)
            for server, sockets in zip(self._servers, self._sockets, strict=True):
                await server.begin(sockets)
            self._lifecycle.go_on_to(Phase.SERVING)
            await _while(lambda: not self.should_exit, math.inf)
            await self._drain()
            await self._close()
            await self._let_end()
            self._lifecycle.go_on_to(Phase.ENDED)
            await lifespan.shutdown()
            self._hard_end.now_if_demanded()

    async def _drain(self) -> None:
        delay, patience = self._ending.delay, self._ending.patience
        _logger.info("told to end: ports close in %g s, what goes on then may take %g s", delay, patience)
        self._lifecycle.go_on_to(Phase.DRAINING)
        for server in self._servers:
            server.drain()
        await _while(lambda: not self.force_exit, delay)

    async def _close(self) -> None:
        everything = [listener for sockets in self._sockets for listener in sockets]
        if not self.force_exit:
            await let_in_who_waits(everything)
        for server in self._servers:
            server.close()
        for listener in everything:
            listener.close()
        self._lifecycle.go_on_to(Phase.CLOSED)

    async def _let_end(self) -> None:
        """Wait for what goes on; live streams are told to end in time to tell what was heard."""
        last_words = self._ending.last_words
        await _while(lambda: self._busy and not self.force_exit, self._ending.patience - last_words)
        self._lifecycle.go_on_to(Phase.FINISHING)
        await _while(lambda: self._busy and not self.force_exit, last_words)
        if not self._busy:
            return
        self._lifecycle.give_up()
        await asyncio.gather(*(server.give_up() for server in self._servers))
        await _while(lambda: self._busy, _GIVING_UP_SECONDS)

    @property
    def _busy(self) -> bool:
        return any(server.busy for server in self._servers)


async def _while(condition: Callable[[], bool], most: float) -> None:
    """Wait as long as it holds, and no longer than `most` seconds."""
    until = time.monotonic() + most
    # Looked at again and again, because what a signal's handler sets does not wake the loop.
    while condition() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(_TICK_SECONDS, left))
