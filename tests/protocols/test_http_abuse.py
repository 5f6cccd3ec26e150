"""Senders who are slow, broken or hostile, on bare sockets: a clear answer, nothing left behind, others unharmed."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai_server import KEY, Running, serving, wait_until

from app.service import connections, uploads

BOUNDARY = b"xXx"
FILE = b'--xXx\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
END = b"\r\n--xXx--\r\n"
BODY = FILE + b"zh" + END


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that waits half a second for the next byte of an upload."""
    with serving(tmp_path_factory.mktemp("impatient"), upload_idle_seconds=0.5) as running:
        yield running
        assert list(running.temp.iterdir()) == []


def head(length: str | None, *more: str) -> bytes:
    lines = [
        "POST /v1/audio/transcriptions HTTP/1.1",
        "host: x",
        f"authorization: Bearer {KEY}",
        f"content-type: multipart/form-data; boundary={BOUNDARY.decode()}",
        *([f"content-length: {length}"] if length is not None else []),
        *more,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def answer(wire: socket.socket) -> tuple[int, bytes]:
    """Status and body of what the server says; (0, b"") when it hangs up without a word."""
    heard = b""
    try:
        while block := wire.recv(65536):
            heard += block
    except ConnectionResetError:
        pass
    if not heard:
        return 0, b""
    top, _, body = heard.partition(b"\r\n\r\n")
    return int(top.split()[1]), body


def well(server: Running) -> None:
    """The next request is answered and no upload is left."""
    reply = httpx.post(
        f"{server.base}/v1/audio/transcriptions",
        files={"file": ("a.wav", b"zh")},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=10,
    )
    assert reply.status_code == 200
    assert wait_until(lambda: list(server.temp.iterdir()) == [])


def test_an_upload_that_stops_is_ended(impatient: Running) -> None:
    with connect(impatient) as wire:
        began = time.monotonic()
        wire.sendall(head("100000") + FILE + b"some sound and then nothing")
        wire.settimeout(5)
        heard = b""
        while b"upload_too_slow" not in heard:
            block = wire.recv(65536)
            assert block, heard
            heard += block
        assert time.monotonic() - began < 3
        assert heard.startswith(b"HTTP/1.1 408")
    well(impatient)


def test_drops_that_keep_coming_are_ended_too(impatient: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "GRACE_SECONDS", 0.3)
    heard = b""
    with connect(impatient) as wire:
        wire.sendall(head("100000") + FILE)
        wire.settimeout(0.1)
        for _ in range(30):
            wire.sendall(b"z")
            try:
                heard += wire.recv(65536)
                break
            except TimeoutError:
                continue
    assert heard.startswith(b"HTTP/1.1 408")
    well(impatient)


def test_work_that_takes_longer_than_an_upload_may_pause_is_not_ended(impatient: Running) -> None:
    reply = httpx.post(
        f"{impatient.base}/v1/audio/transcriptions",
        files={"file": ("a.wav", b"sleepy")},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )
    assert reply.status_code == 200


@pytest.mark.parametrize("sent", [head("100000") + FILE + b"some", head("100000"), head(None)[:40]])
def test_who_hangs_up_leaves_nothing(server: Running, sent: bytes) -> None:
    with connect(server) as wire:
        wire.sendall(sent)
        time.sleep(0.1)
    well(server)


@pytest.mark.parametrize("length", ["-5", "many", "1, 2", "0x10", "99999999999999999999999999"])
def test_lengths_that_are_none(server: Running, length: str) -> None:
    with connect(server) as wire:
        wire.sendall(head(length) + BODY)
        wire.shutdown(socket.SHUT_WR)
        status, _ = answer(wire)
    assert status in {400, 413}
    well(server)


def test_two_lengths_and_a_length_beside_chunks(server: Running) -> None:
    for more in (f"content-length: {len(BODY) + 5}", "transfer-encoding: chunked"):
        with connect(server) as wire:
            wire.sendall(head(str(len(BODY)), more) + BODY)
            wire.shutdown(socket.SHUT_WR)
            assert answer(wire)[0] == 400
        well(server)


def test_a_length_shorter_than_the_body_ends_the_form(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(head(str(len(FILE) + 1)) + FILE + b"z")
        heard = b""
        while b"}}" not in heard:
            heard += wire.recv(65536)
    assert heard.startswith(b"HTTP/1.1 400")
    assert json.loads(heard.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    well(server)


def test_what_follows_the_stated_length_is_no_second_request(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(head(str(len(BODY))) + BODY + b"and more that was not announced")
        wire.shutdown(socket.SHUT_WR)
        assert answer(wire)[0] in {0, 200, 400}
    well(server)


def test_a_broken_chunk(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(head(None, "transfer-encoding: chunked") + b"zz\r\nnot a chunk\r\n")
        wire.shutdown(socket.SHUT_WR)
        assert answer(wire)[0] == 400
    well(server)


def test_expect_continue_is_answered_before_the_body(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(head(str(len(BODY)), "expect: 100-continue", "connection: close"))
        assert wire.recv(100).startswith(b"HTTP/1.1 100")
        wire.sendall(BODY)
        assert answer(wire)[0] == 200


@pytest.mark.parametrize("flood", [["x: y"] * 20_000, [f"x: {'y' * 1_000_000}"]], ids=["many", "one"])
def test_a_flood_of_headers_is_431(server: Running, flood: list[str]) -> None:
    with connect(server) as wire:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it does not read to the end
            wire.sendall(head(str(len(BODY)), *flood))
        assert answer(wire)[0] in {431, 0}
    well(server)


def test_a_header_that_never_ends_is_not_kept(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(head(None)[:-2] + b"x: ")
        wire.sendall(b"y" * 60_000)
        time.sleep(0.2)
        wire.sendall(b"y" * 10_000)
        assert answer(wire)[0] == 431
    well(server)


def test_headers_that_do_not_come_are_ended(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with connect(server) as silent, connect(server) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nhost:")
        assert answer(silent)[0] == 408
        assert answer(slow)[0] == 408
    well(server)


def test_many_idle_connections_disturb_nobody(server: Running) -> None:
    idle = [connect(server) for _ in range(400)]
    try:
        began = time.monotonic()
        well(server)
        assert time.monotonic() - began < 5
    finally:
        for wire in idle:
            wire.close()


@pytest.mark.parametrize(
    "name",
    [b"../../etc/passwd", b"a\x00b.wav", b"\xff\xfe.wav", b'a\\".wav', b"x" * 3000, b"\xe5\xbd\x95\xe9\x9f\xb3.wav"],
)
def test_file_names_of_any_kind(server: Running, name: bytes) -> None:
    body = FILE.replace(b"a.wav", name) + b"zh" + END
    with connect(server) as wire:
        wire.sendall(head(str(len(body)), "connection: close") + body)
        assert answer(wire)[0] in {200, 400}
    well(server)


def test_part_headers_without_end(server: Running) -> None:
    body = b"--xXx\r\nContent-Disposition: form-data; name=" + b"y" * 1_000_000
    with connect(server) as wire:
        wire.sendall(head(str(len(body)), "connection: close") + body)
        status, text = answer(wire)
    assert status == 400
    assert json.loads(text)["error"]["type"] == "invalid_request_error"
    well(server)


def test_a_disk_that_is_full_is_said_and_nothing_stays(tmp_path: Path) -> None:
    with serving(tmp_path / "gone") as running:  # a folder that is not there takes as much as a full one
        reply = httpx.post(
            f"{running.base}/v1/audio/transcriptions",
            files={"file": ("a.wav", b"zh")},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=10,
        )
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "engine_failure"


def test_keys_are_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "sk-wrong-key-of-somebody"
    with caplog.at_level("DEBUG"), serving(tmp_path) as running:
        for key in (KEY, wrong):
            httpx.post(
                f"{running.base}/v1/audio/transcriptions",
                files={"file": ("secret-name.wav", b"fail bug")},
                headers={"authorization": f"Bearer {key}", "x-nls-token": key},
                timeout=10,
            )
    assert KEY not in caplog.text
    assert wrong not in caplog.text
