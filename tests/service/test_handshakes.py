"""Handshakes as real clients make them, on a real uvicorn server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from app.service.connections import GuardedHttp
from app.service.handshakes import TolerantWebSocket, without_repeats

KEY, CONSTANT = "dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw=="
DOUBLED = (
    "GET /echo?token=a-secret HTTP/1.1\r\nHost: any\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {CONSTANT}\r\nSec-WebSocket-Version: 13\r\n"
    "X-NLS-Token: a-secret\r\n\r\n"
).encode()
"""As the SDKs of Alibaba Cloud for Python have it."""
PING_SECONDS, PONG_SECONDS = 0.2, 1.0
BUSY_SECONDS = 2.5
"""Longer than it takes to ping and to wait for the answer."""


def application() -> FastAPI:
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())

    @app.websocket("/busy")
    async def busy(websocket: WebSocket) -> None:
        """Listens to nothing for a while after the first message."""
        await websocket.accept()
        await websocket.receive_text()
        await asyncio.sleep(BUSY_SECONDS)
        await websocket.receive_text()
        await websocket.send_text("heard")
        await websocket.receive()

    @app.websocket("/broken")
    async def broken(websocket: WebSocket) -> None:
        await websocket.accept()
        raise ZeroDivisionError

    return app


@contextlib.contextmanager
def listening(**options: object) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application(), lifespan="off", http=GuardedHttp, ws=TolerantWebSocket, log_config=None, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening() as number:
        yield number


@pytest.fixture(scope="module")
def restless() -> Iterator[int]:
    """A server that wants an answer to a ping at once."""
    with listening(ws_ping_interval=PING_SECONDS, ws_ping_timeout=PONG_SECONDS) as number:
        yield number


def answer_to(port: int, *pieces: bytes) -> str:
    """The head of the answer to a request that is sent in pieces."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05 if len(pieces) > 1 else 0)
        received = b""
        while b"\r\n\r\n" not in received:
            more = client.recv(4096)
            if not more:
                break
            received += more
    return received.decode()


def accept_of(key: str) -> str:
    """RFC 6455, 1.3."""
    return base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


def test_of_two_keys_the_first_is_answered(port: int) -> None:
    answer = answer_to(port, DOUBLED)
    assert answer.startswith("HTTP/1.1 101 ")
    assert accept_of(KEY) in answer
    assert accept_of(CONSTANT) not in answer


def test_a_head_may_come_in_pieces(port: int) -> None:
    pieces = [DOUBLED[:30], DOUBLED[30:130], DOUBLED[130:201], DOUBLED[201:]]
    assert accept_of(KEY) in answer_to(port, *pieces)


def test_a_handshake_without_repeats_is_what_it_was(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as client:
        client.send("hello")
        assert client.recv(20) == "hello"


def test_what_is_no_handshake_is_still_refused(port: int) -> None:
    without_key = DOUBLED.replace(b"Sec-WebSocket-Key", b"X-Other")
    assert answer_to(port, without_key).startswith("HTTP/1.1 400 ")


def test_only_what_a_handshake_has_once_is_taken_out() -> None:
    head = b"GET / HTTP/1.1\r\nCookie: a\r\nSEC-websocket-KEY : 1\r\nCookie: b\r\nsec-websocket-key:2\r\nX: y"
    kept = b"GET / HTTP/1.1\r\nCookie: a\r\nSEC-websocket-KEY : 1\r\nCookie: b\r\nX: y"
    rest = b"\r\n\r\n\x81\x05sec-websocket-key:\r\nsec-websocket-key:"
    assert without_repeats(head + rest) == kept + rest
    assert without_repeats(b"") == b""


def test_no_log_has_keys_or_messages(port: int, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)  # servers of other tests have told it to tell nobody else
    with caplog.at_level(logging.DEBUG, logger.name):
        with connect(
            f"ws://127.0.0.1:{port}/echo?token=a-secret", additional_headers={"X-NLS-Token": "a-secret"}, proxy=None
        ) as client:
            client.send("what was said")
            client.recv(20)
        with contextlib.suppress(ConnectionClosed):
            client.recv(20)
    logger.removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if record.name == logger.name]
    assert not [line for line in lines if any(private in line for private in ("secret", "said", "echo", "127.0.0.1"))]


@pytest.mark.parametrize("refused", [False, True])
def test_nothing_is_said_of_who_connects(port: int, caplog: pytest.LogCaptureFixture, refused: bool) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    path = "nowhere" if refused else "echo"
    with (
        caplog.at_level(logging.INFO, logger.name),
        contextlib.suppress(InvalidStatus),
        connect(f"ws://127.0.0.1:{port}/{path}", proxy=None),
    ):
        pass
    logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if record.name == logger.name] == []


def test_what_fails_in_it_is_logged_still(port: int, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.ERROR, logger.name):  # servers of other tests have told it to say less
        with connect(f"ws://127.0.0.1:{port}/broken", proxy=None) as client, pytest.raises(ConnectionClosed):
            client.recv(20)
        until = time.monotonic() + 20  # the server's thread may write its line after the connection is closed
        while not _failed_by_division(caplog) and time.monotonic() < until:
            time.sleep(0.02)
    logger.removeHandler(caplog.handler)
    assert _failed_by_division(caplog)


def _failed_by_division(caplog: pytest.LogCaptureFixture) -> bool:
    return any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in list(caplog.records))


def test_a_client_that_is_not_listened_to_just_now_is_not_given_up(restless: int) -> None:
    """Its answers to pings wait behind what it sent, and that is the server's doing."""
    with connect(f"ws://127.0.0.1:{restless}/busy", proxy=None, ping_interval=None) as client:
        client.send("first")
        client.send("second")
        assert client.recv(20) == "heard"


def test_a_client_that_sends_is_there_even_if_it_answers_no_ping(restless: int) -> None:
    with silent_client(restless) as client:
        until = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < until:
            client.sendall(b"\x81\x82\0\0\0\0hi")
            time.sleep(0.1)
        client.sendall(b"\x81\x83\0\0\0\0end")
        assert b"end" in received_until(client, b"end")


def test_a_client_that_says_nothing_at_all_is_given_up(restless: int) -> None:
    with silent_client(restless) as client:
        assert b"ping timeout" in received_until(client, b"ping timeout")


@contextlib.contextmanager
def silent_client(port: int) -> Iterator[socket.socket]:
    """A client that does nothing by itself, its handshake done."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(DOUBLED)
        received_until(client, b"\r\n\r\n")
        yield client


def received_until(client: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        more = client.recv(4096)
        if not more:
            break
        received += more
    return received
