"""Connections that are to be encrypted, from the moment they are accepted to the end of their handshake.

Event loops shake hands with as many as come, for a minute each, and no protocol hears of them before. Here each has its
place from the first moment, and those far beyond the bound are not even begun with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

from app.service.connections import HEADER_SECONDS, Door, GuardedHttp

TOLD = 32
"""So many more than there may be are shaken hands with, to be told 503; who comes after them is hung up on."""
_AT_ONCE = 64
"""How many are accepted before others have their turn."""
_PAUSE_SECONDS = 1.0
"""How long nobody is accepted where the system refused to (it has no descriptor left)."""
_logger = logging.getLogger(__name__)


class EncryptedListeners:
    """Accepts at listening sockets, which stay their owner's, and hands over to what `speak` makes."""

    def __init__(self, tls: ssl.SSLContext, speak: Callable[[], GuardedHttp], door: Door) -> None:
        self._tls = tls
        self._speak = speak
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._open: list[socket.socket] = []
        self._shaking: set[asyncio.Task[None]] = set()

    def add(self, listener: socket.socket) -> None:
        """Accept whoever comes there, until `close`."""
        self._open.append(listener)
        self._loop.add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Accept nobody any more. Those that are accepted may end their handshake."""
        for listener in self._open:
            self._loop.remove_reader(listener)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _logger.warning("no connection can be accepted for now: %s", error.strerror)
                self._loop.remove_reader(listener)
                self._loop.call_later(_PAUSE_SECONDS, self._resume, listener)
                return
            if self._door.crowd.beyond >= TOLD:
                connection.close()
                continue
            connection.setblocking(False)
            # Made here, so that it has its place before the next one is accepted.
            task = self._loop.create_task(self._shake_hands(connection, self._speak()))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._open:
            self._loop.add_reader(listener, self._accept, listener)

    async def _shake_hands(self, connection: socket.socket, spoken: GuardedHttp) -> None:
        try:
            # Whoever fails to is hung up on by the loop, and is no affair of the log's: anybody can do that.
            with contextlib.suppress(OSError):
                await self._loop.connect_accepted_socket(
                    lambda: spoken, connection, ssl=self._tls, ssl_handshake_timeout=HEADER_SECONDS
                )
        finally:
            self._door.arriving.discard(spoken)
