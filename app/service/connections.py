"""Connections that never become requests: uvicorn's HTTP protocol with a bound on headers, in bytes and in time.

Uvicorn bounds neither, so a sender could fill the memory with one header, or hold connections open for ever with none.
What is refused here has no path yet, hence no protocol whose error shape it could have: the answer is plain text.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 20.0
"""From a connection's opening, or a request's first byte, to the end of its headers."""
HEADER_BYTES = 64 * 1024
"""Clients send one or two KiB; proxies commonly allow 8 to 32."""


class GuardedHttp(HttpToolsProtocol):
    """One connection. Ends it with 408 when headers take too long, with 431 when they are too large."""

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request is due."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self._stop_clock()
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

    def on_body(self, body: bytes) -> None:
        """A part of a body; of a refused request it goes nowhere."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's end."""
        if not self._refused:
            super().on_message_complete()

    def _expect_headers(self) -> None:
        self._stop_clock()
        self._in_headers, self._header_bytes = True, 0
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

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
        head = (
            f"HTTP/1.1 {reason}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\nconnection: close\r\n"
        )
        self.transport.write(f"{head}\r\n{reason}".encode("ascii"))
        self.transport.close()
