"""Connections that never become requests: uvicorn's HTTP protocol with a bound on headers, in bytes and in time.

Uvicorn bounds neither, so a sender could fill the memory with one header, or hold connections open for ever with none.
What is refused here has no path yet, hence no protocol whose error shape it could have: the answer is plain text.

And there may only be so many of them, or files could not be opened any more for those who are being served.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sized
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.service.lifecycle import Lifecycle

HEADER_SECONDS = 20.0
"""From a connection's opening, or a request's first byte, to the end of its headers."""
HEADER_BYTES = 64 * 1024
"""Clients send one or two KiB; proxies commonly allow 8 to 32."""
FIRST_REQUEST_SECONDS = 3.0
"""How long the first request of a connection may take to begin once the server ends. Browsers open some for later."""
READER_SECONDS = 60.0
"""For so long a client may take in nothing of what waits for it; it would hold its memory and its place for ever."""
GOODBYE_SECONDS = 2.0
"""For so long an encrypted connection that is closed waits for its client to say so, too; many never do."""
_RETRY_SECONDS = 5


class Crowd:
    """The connections of all ports together: how many there are, and may be."""

    def __init__(self, most: int | None = None) -> None:
        """`most` are served at once; None: as many as come."""
        self._most = most
        self._groups: list[Sized] = []

    def count(self, group: Sized) -> None:
        """Count those in `group`, too, as it stands whenever somebody asks."""
        self._groups.append(group)

    @property
    def beyond(self) -> int:
        """How many more there are than there may be."""
        return 0 if self._most is None else max(0, sum(map(len, self._groups)) - self._most)


class Door(ServerState):
    """What all connections of one port share: uvicorn's state, whether the server ends, and the crowd they are in."""

    def __init__(self, lifecycle: Lifecycle | None = None, crowd: Crowd | None = None) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()
        self.lifecycle = lifecycle or Lifecycle()
        self.crowd = crowd or Crowd()
        self.arriving: weakref.WeakSet[GuardedHttp] = weakref.WeakSet()
        """Those that are accepted, and may be in the middle of a TLS handshake."""
        self.crowd.count(self.arriving)
        self.crowd.count(self.connections)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        """What every answer carries: one list, so that an answer has the date of its own moment, not its request's."""
        return self._headers

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:  # type: ignore[override]
        self._headers[:] = headers


class GuardedHttp(HttpToolsProtocol):
    """One connection. Ends it with 408 when headers take too long, with 431 when they are too large, and with 503 where
    there are too many; without a word when its client reads nothing of what it asked for. Once the server ends, every
    answer is its connection's last."""

    _deadline: asyncio.TimerHandle | None = None
    _reader_check: asyncio.TimerHandle | None = None
    _goodbye: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0
    _refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = self.server_state if isinstance(self.server_state, Door) else Door()
        self._door.arriving.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request is due."""
        super().connection_made(transport)
        self._door.arriving.discard(self)
        self._expect_headers()
        if self._door.lifecycle.closed:  # its handshake took until now
            self._expect_first_request()
        if self._door.crowd.beyond:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self._stop_clock()
        self._trust_reader()
        if self._goodbye is not None:
            self._goodbye.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes, of headers or of a body."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            # Counted here, because the parser keeps an unfinished header to itself.
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def pause_writing(self) -> None:
        """The client takes in less than there is for it."""
        super().pause_writing()
        self._watch_reader(None)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._trust_reader()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """A request's headers are there."""
        self._stop_clock()
        self._in_headers = False
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not self._refused:
            super().on_headers_complete()
            if self._door.lifecycle.draining:
                self.drain()

    def on_body(self, body: bytes) -> None:
        """A part of a body; of a refused request it goes nowhere."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's end."""
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer's end, which may be the connection's."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.part()

    def timeout_keep_alive_handler(self) -> None:
        """It was kept, and nothing more was asked."""
        self.part()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        super().send_400_response(msg)
        self.part()

    def part(self) -> None:
        """End the connection once all is sent, if it does not end already. A client that does not say that it has heard
        of the encryption's end is not waited for: it would hold the server's own end."""
        if not self.transport.is_closing():
            self.transport.close()
        if self.scheme == "https" and self._goodbye is None:
            self._goodbye = self.loop.call_later(GOODBYE_SECONDS, self._leave)

    def drain(self) -> None:
        """The server ends: the answer that is due is the connection's last."""
        if self._answering is not None:
            self._answering.keep_alive = False

    def shutdown(self) -> None:
        """No port listens any more: a connection that is kept ends, one that has not asked yet may do so, if soon."""
        if self._answering is not None:
            self._answering.keep_alive = False
        elif not self._in_headers:
            self.part()
        elif not self._header_bytes:
            self._expect_first_request()

    @property
    def _answering(self) -> RequestResponseCycle | None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request, whatever uvicorn says
        return None if cycle is None or cycle.response_complete else cycle

    def _leave(self) -> None:
        if self.transport.get_write_buffer_size():  # a client that reads slowly, not one that is silent
            self._goodbye = self.loop.call_later(GOODBYE_SECONDS, self._leave)
        else:
            self.transport.abort()

    def _watch_reader(self, before: int | None) -> None:
        waiting = self.transport.get_write_buffer_size()
        if before is not None and waiting >= before:
            self.transport.abort()
            return
        self._reader_check = self.loop.call_later(READER_SECONDS, self._watch_reader, waiting)

    def _trust_reader(self) -> None:
        if self._reader_check is not None:
            self._reader_check.cancel()
            self._reader_check = None

    def _expect_headers(self) -> None:
        self._stop_clock()
        self._in_headers, self._header_bytes = True, 0
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _expect_first_request(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(FIRST_REQUEST_SECONDS, self.part)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_clock()
        reason = f"{status.value} {status.phrase}"
        retry = f"retry-after: {_RETRY_SECONDS}\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {reason}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\n{retry}"
            "x-content-type-options: nosniff\r\nconnection: close\r\n"
        )
        self.transport.write(f"{head}\r\n{reason}".encode("ascii"))
        self.part()
