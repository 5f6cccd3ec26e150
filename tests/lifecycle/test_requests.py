"""Requests at the server's end: what has begun is answered, who asks meanwhile is sent elsewhere, and a second signal
waits for nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from real.server import RealServer, start_server

from .conftest import Starting
from .knocking import knock_through

AT_ONCE_SECONDS = 10.0
"""A second signal promises two, to a machine that does nothing else."""
DELAY_SECONDS = 6.0


class Upload:
    """A form with a recording that is sent in two parts."""

    def __init__(self, server: RealServer, recording: Path) -> None:
        head = (
            b'--half\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
            b"Content-Type: audio/wav\r\n\r\n"
        )
        body = head + recording.read_bytes() + b"\r\n--half--\r\n"
        asked = (
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: here\r\n"
            b"Content-Type: multipart/form-data; boundary=half\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        self._rest = body[len(body) // 2 :]
        port = int(server.base.rpartition(":")[2])
        self.connection = socket.create_connection(("127.0.0.1", port), 60)
        self.connection.sendall(asked + body[: len(body) // 2])

    def finish(self) -> bytes:
        """The whole answer to the whole form."""
        self.connection.sendall(self._rest)
        return self.answer()

    def answer(self) -> bytes:
        """All that comes until the connection ends."""
        answer = b""
        while more := self.connection.recv(65536):
            answer += more
        return answer


@contextmanager
def _kept(server: RealServer) -> Iterator[httpx.Client]:
    """A client with a connection that is kept."""
    with httpx.Client(base_url=server.base, timeout=30) as client:
        assert "connection" not in client.get("/health/live").headers
        yield client


def wait_until(condition: object, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.02)
    assert condition()  # type: ignore[operator]


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listing.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_while_draining_it_is_not_ready_and_answers_and_an_upload_that_is_half_way_ends_with_200(
    starting: Starting, phone_call: Path
) -> None:
    server = starting(SHUTDOWN_DELAY_SECONDS=str(DELAY_SECONDS)).server
    upload = Upload(server, phone_call / "sample.wav")
    wait_until(lambda: server.active() == 1)
    # Made before, which takes a slow machine longer than the delay is.
    with _kept(server) as kept, httpx.Client(base_url=server.base, timeout=30) as new:
        server.process.send_signal(signal.SIGTERM)
        on_kept = kept.get("/health/ready")
        on_new = new.get("/health/ready")
        whole = new.get("/health").json()

    for answer in (on_kept, on_new):
        assert answer.status_code == 503
        assert answer.json()["status"] == "draining"
        assert answer.headers["connection"] == "close"
    assert whole["status"] == "draining"
    wait_until(lambda: not _listens(server))
    answer = upload.finish()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()
    assert server.process.wait(60) == -signal.SIGTERM
    assert list(server.temp.iterdir()) == []
    assert "Traceback" not in server.log.read_text()


def _listens(server: RealServer) -> bool:
    try:
        httpx.get(f"{server.base}/health/live", timeout=30)
    except httpx.ConnectError:
        return False
    return True


def test_a_second_signal_ends_at_once_and_leaves_nothing(starting: Starting, phone_call: Path) -> None:
    server = starting(SHUTDOWN_SECONDS="60").server
    upload = Upload(server, phone_call / "sample.wav")
    wait_until(lambda: server.active() == 1 and any(server.temp.iterdir()))
    started = _descendants(server.process.pid)
    assert started, "there are decoders"
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not _listens(server))
    assert server.process.poll() is None, "one signal was enough"

    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(AT_ONCE_SECONDS)

    assert status == -signal.SIGTERM
    assert list(server.temp.iterdir()) == []
    wait_until(lambda: not any(map(_lives, started)))
    assert _is_told(upload)


def _is_told(upload: Upload) -> bool:
    """Whether its answer says, in its protocol's shape, that the server did not wait for it, and to come again."""
    head, _, body = upload.answer().partition(b"\r\n\r\n")
    told = head.lower().splitlines()
    asked_again = {b"retry-after: 5", b"x-should-retry: true", b"connection: close"} <= set(told)
    return told[0].startswith(b"http/1.1 503 ") and asked_again and b'"code":"server_ending"' in body


def test_what_takes_too_long_is_given_up_in_the_end_and_told_so(starting: Starting, phone_call: Path) -> None:
    server = starting(SHUTDOWN_SECONDS="2").server
    upload = Upload(server, phone_call / "sample.wav")
    wait_until(lambda: server.active() == 1)

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(30) == -signal.SIGTERM
    assert _is_told(upload)
    log = server.log.read_text()
    assert "1 requests are given up" in log
    assert "status=503" in log
    assert "Traceback" not in log
    assert list(server.temp.iterdir()) == []


def test_who_connects_anew_for_every_request_is_answered_or_refused_but_never_cut_off(starting: Starting) -> None:
    server = starting(SHUTDOWN_DELAY_SECONDS="1").server
    port = int(server.base.rpartition(":")[2])

    outcomes = knock_through(port, lambda: server.process.send_signal(signal.SIGTERM))

    assert set(outcomes) == {"answered 200", "refused"}
    assert server.process.wait(30) == -signal.SIGTERM


def _space() -> list[str]:
    """A command whose child is the first process of a space of its own."""
    space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*space, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may make no process namespace")
    return space


@pytest.mark.parametrize("signals", [1, 2])
def test_as_a_containers_first_process_it_ends_when_told(
    models_dir: Path, small_model: Path, tmp_path: Path, signals: int
) -> None:
    """To which the kernel gives no signal that nobody listens for."""
    server = start_server(models_dir, tmp_path, before=_space(), ASR_MODEL_DIR_WHISPER_BASE=str(small_model))
    try:
        server.wait_until_ready()
        (first,) = _descendants(server.process.pid)[:1]
        assert Path(f"/proc/{first}/status").read_text().split("NSpid:")[1].split()[:2] == [str(first), "1"]
        held = Upload(server, small_model / "config.json") if signals == 2 else None
        wait_until(lambda: server.active() == signals - 1)
        os.kill(first, signal.SIGTERM)
        if held is not None:
            wait_until(lambda: not _listens(server))
            os.kill(first, signal.SIGTERM)
            held.connection.settimeout(30)
        assert server.process.wait(30) == (0 if held is None else 128 + signal.SIGTERM)
        assert list(server.temp.iterdir()) == []
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("first", [True, False])
def test_before_anything_is_imported_it_ends_when_told_too(models_dir: Path, tmp_path: Path, first: bool) -> None:
    server = start_server(models_dir, tmp_path, before=_space() if first else [])
    try:
        wait_until(lambda: any(map(_listens_for_sigterm, _with_descendants(server.process.pid))))
        (pid,) = filter(_listens_for_sigterm, _with_descendants(server.process.pid))
        os.kill(pid, signal.SIGTERM)
        assert server.process.wait(30) == (128 + signal.SIGTERM if first else -signal.SIGTERM)
        assert "startup" not in server.log.read_text(), "it was told too late"
    finally:
        server.process.kill()
        server.process.wait()


def _with_descendants(pid: int) -> list[int]:
    return [pid, *_descendants(pid)]


def _listens_for_sigterm(pid: int) -> bool:
    """Whether it is a Python that has come that far."""
    if "python" not in Path(f"/proc/{pid}/exe").resolve().name:
        return False
    caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
