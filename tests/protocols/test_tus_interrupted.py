"""What becomes of uploads whose connections break, stall, double, or are replaced by new ones."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tus_server import PART, UPLOADS, Running, serving, wait_for_offset

from app.protocols.tus import receiving
from app.service.lifecycle import Phase
from app.service.resumable.holding import QUIET_SECONDS, WAIT_SECONDS

DATA = bytes(range(200)) * 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("tus")) as running:
        yield running


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def begin(http: httpx.Client, length: int = len(DATA)) -> str:
    return http.post(UPLOADS, headers={"upload-length": str(length)}).headers["location"]


def rest(http: httpx.Client, location: str, offset: int) -> httpx.Response:
    return http.patch(location, content=DATA[offset:], headers=PART | {"upload-offset": str(offset)})


def reset(connection: socket.socket) -> None:
    """Close it as a machine does that does not know it any more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_what_arrived_before_a_connection_broke_counts(http: httpx.Client, server: Running, end: object) -> None:
    location = begin(http)
    with server.sender(location, 0, len(DATA)) as connection:
        connection.sendall(DATA[:1500])
        wait_for_offset(http, location, 1500)  # while it is still being sent
        end(connection)  # type: ignore[operator]
    assert rest(http, location, 1500).status_code == 204
    assert server.data(location) == DATA


def test_a_part_with_a_checksum_that_broke_off_does_not_count(http: httpx.Client, server: Running) -> None:
    location = begin(http)
    digest = base64.b64encode(hashlib.sha1(DATA).digest()).decode()
    with server.sender(location, 0, len(DATA), f"upload-checksum: sha1 {digest}") as connection:
        connection.sendall(DATA[:1500])
        path = next(path for path in server.files() if path.name == location.rpartition("/")[2])
        deadline = time.monotonic() + 30
        while path.stat().st_size < 1500:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        wait_for_offset(http, location, 0)
    headers = PART | {"upload-offset": "0", "upload-checksum": f"sha1 {digest}"}
    assert http.patch(location, content=DATA, headers=headers).status_code == 204
    assert server.data(location) == DATA


def test_a_client_whose_network_changed_need_not_wait_for_its_old_connection(
    http: httpx.Client, server: Running
) -> None:
    """The old one is open, and nothing comes of it: as it looks when a phone leaves its wireless network."""
    location = begin(http)
    with server.sender(location, 0, len(DATA)) as old:
        old.sendall(DATA[:1500])
        wait_for_offset(http, location, 1500)
        began = time.monotonic()
        assert rest(http, location, 1500).status_code == 204
        assert time.monotonic() - began < WAIT_SECONDS + 1
        assert server.data(location) == DATA
        told = old.recv(4096)
        assert told.startswith(b"HTTP/1.1 423 ")


def test_two_at_once_do_not_mix(http: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends all the time keeps its place; the other is told to come back."""
    monkeypatch.setattr(receiving, "QUIET_SECONDS", 3 * QUIET_SECONDS)  # a busy machine sends nothing for a while, too
    location, stop = begin(http), threading.Event()
    with server.sender(location, 0, len(DATA)) as first, ThreadPoolExecutor(1) as threads:
        first.sendall(DATA[:1])

        def keep_sending() -> int:
            sent = 1
            while not stop.wait(QUIET_SECONDS / 10) and sent < len(DATA) - 1:
                sent += first.send(DATA[sent : sent + 1])
            return sent

        wait_for_offset(http, location, 1)
        sending = threads.submit(keep_sending)
        try:
            refused = rest(http, location, 1)
        finally:
            stop.set()
        assert (refused.status_code, refused.json()["error"]["code"]) == (423, "upload_locked")
        first.sendall(DATA[sending.result() :])
        assert first.recv(4096).startswith(b"HTTP/1.1 204 ")
    assert server.data(location) == DATA


def test_many_at_once_make_one_whole(http: httpx.Client, server: Running) -> None:
    """Whoever comes, in whatever order: each byte is written once."""
    location = begin(http)

    def send(_: int) -> int:
        with server.client() as client:
            sent = 0
            while (at := int(client.head(location).headers["upload-offset"])) < len(DATA):
                headers = PART | {"upload-offset": str(at)}
                answer = client.patch(location, content=DATA[at : at + 250], headers=headers)
                assert answer.status_code in {204, 409, 423}, answer.text
                sent += 250 if answer.status_code == 204 else 0
            return sent

    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(send, range(4)))
    assert server.data(location) == DATA
    assert sum(sent) == len(DATA)


def test_removing_an_upload_ends_whoever_sends_it(http: httpx.Client, server: Running) -> None:
    location, stop = begin(http), threading.Event()
    with server.sender(location, 0, len(DATA)) as sender, ThreadPoolExecutor(1) as threads:
        sender.sendall(DATA[:100])
        wait_for_offset(http, location, 100)

        def keep_sending() -> None:
            for at in range(100, len(DATA)):
                if stop.wait(QUIET_SECONDS / 20):
                    return
                sender.sendall(DATA[at : at + 1])

        threads.submit(keep_sending)
        try:
            assert http.delete(location).status_code == 204
            assert sender.recv(4096).startswith(b"HTTP/1.1 404 ")
        finally:
            stop.set()
    assert http.head(location).status_code == 404
    assert not [path for path in server.files() if path.name.startswith(location.rpartition("/")[2])]


def test_a_connection_that_sends_nothing_is_ended_and_its_bytes_count(tmp_path: Path) -> None:
    with serving(tmp_path, idle_seconds=0.5) as server, server.client() as http:
        location = begin(http)
        with server.sender(location, 0, len(DATA)) as sender:
            sender.sendall(DATA[:1500])
            assert sender.recv(4096).startswith(b"HTTP/1.1 409 ")
        assert rest(http, location, 1500).status_code == 204
        assert server.data(location) == DATA


def test_a_server_that_ends_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client() as http:
        location = begin(http)
        with server.sender(location, 0, len(DATA)) as sender:
            sender.sendall(DATA[:1500])
            wait_for_offset(http, location, 1500)
            server.service.lifecycle.go_on_to(Phase.CLOSED)
            sender.sendall(DATA[1500:1600])
            assert sender.recv(4096).startswith(b"HTTP/1.1 503 ")
        wait_for_offset(http, location, 1600)
        assert rest(http, location, 1600).status_code == 204  # the last one may
        assert server.data(location) == DATA
