"""Clients that do not read what they asked for over HTTP, against a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from served import served
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.service import connections
from app.service.connections import GuardedHttp

ENOUGH = 64 * 1024 * 1024
"""Bytes that no socket's buffers hold."""
READER_SECONDS = 2.0


@contextmanager
def _asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A client that has asked for much and read nothing yet."""
    monkeypatch.setattr(connections, "READER_SECONDS", READER_SECONDS)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse(bytes(ENOUGH)))])
    with served(app) as port, socket.create_connection(("127.0.0.1", port), 60) as client:  # type: ignore[arg-type]
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        yield client


def test_who_reads_nothing_of_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    left, lose = threading.Event(), GuardedHttp.connection_lost

    def lost(self: GuardedHttp, error: Exception | None) -> None:
        lose(self, error)
        left.set()

    monkeypatch.setattr(GuardedHttp, "connection_lost", lost)
    with _asked(monkeypatch) as client:
        assert left.wait(60), "the server keeps everything for it"
        received = 0
        with contextlib.suppress(ConnectionError):
            while more := len(client.recv(1 << 20)):
                received += more

    assert received < ENOUGH


def test_who_reads_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with _asked(monkeypatch) as client:
        until, received = time.monotonic() + 2.5 * READER_SECONDS, 0
        while more := len(client.recv(256 * 1024)):
            received += more
            time.sleep(0.03 if time.monotonic() < until else 0.0)

    assert received > ENOUGH
