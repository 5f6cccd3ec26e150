"""What runs out while the server runs: file descriptors, room on the disk, leave to write to it."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from real.server import ROOT, RealServer

from app.cli.certificate import make
from app.service.descriptors import Descriptors, descriptors_of
from app.service.encrypted import TOLD
from app.settings import Settings

from .conftest import Starting
from .test_requests import Upload, wait_until

PATH = "/v1/audio/transcriptions"
MEBIBYTE = 1 << 20

_PROGRAM = """
import ssl, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from app.ports import ServedApp, ServedTcp, serve_all
from app.service import encrypted

async def here(request):
    return PlainTextResponse("here")

async def talk(reader, writer, ending):
    await reader.read()

tls = None
if len(sys.argv) > 4:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[4] + "/certificate.pem", sys.argv[4] + "/key.pem")
    encrypted.HEADER_SECONDS = float(sys.argv[5])
app = Starlette(routes=[Route("/", here)])
main, other, plain = map(int, sys.argv[1:4])
served = [ServedApp(app, "127.0.0.1", other, "OTHER_PORT"), ServedTcp(talk, 1000, "127.0.0.1", plain, "TCP_PORT")]
serve_all(ServedApp(app, "127.0.0.1", main, "PORT"), served, most_connections=3, tls=tls)
"""


# --- connections ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _crowded(*more: str) -> Iterator[tuple[int, int, int]]:
    """The ports of two applications and a plain protocol that may have three connections together."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        main, other, plain = (listener.getsockname()[1] for listener in listeners)
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *map(str, (main, other, plain)), *more], cwd=ROOT)
    try:
        wait_until(lambda: _is_accepted(plain))
        yield main, other, plain
    finally:
        process.kill()
        process.wait()


def _is_accepted(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
        return True
    return False


def _is_hung_up_on(port: int) -> bool:
    """At once, which is not to say soon."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        return _has_ended(connection)


def _has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def _takes_nobody(port: int, held: contextlib.ExitStack) -> bool:
    """Whether one more connection, which is held, is hung up on."""
    connection = held.enter_context(socket.create_connection(("127.0.0.1", port), 30))
    connection.settimeout(3)
    with contextlib.suppress(TimeoutError):
        return _has_ended(connection)
    return False


def _status(url: str, tls: ssl.SSLContext | bool = True) -> int:
    """0: hung up on."""
    try:
        return httpx.get(url, verify=tls, timeout=30).status_code
    except httpx.TransportError:
        return 0


def test_more_connections_than_there_may_be_at_all_ports_are_told_to_come_back() -> None:
    with _crowded() as (main, other, plain), contextlib.ExitStack() as held:
        urls = [f"http://127.0.0.1:{port}/" for port in (main, other)]
        wait_until(lambda: _status(urls[0]) == 200)
        with httpx.Client(timeout=30) as kept:
            for url in urls:
                assert kept.get(url).text == "here"
            held.enter_context(socket.create_connection(("127.0.0.1", plain), 30))
            for url in urls:
                answer = httpx.get(url, timeout=30)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert _is_hung_up_on(plain)
            assert kept.get(urls[0]).text == "here", "who was there is served"
        wait_until(lambda: _status(urls[0]) == 200)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    made, key = make(["localhost", "127.0.0.1"])
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path


def test_a_handshake_has_its_place_and_far_too_many_are_not_begun_with(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate / "certificate.pem")
    with _crowded(str(certificate), "60") as (main, other, _):
        url = f"https://127.0.0.1:{other}/"
        wait_until(lambda: _status(url, trusting) == 200)
        with contextlib.ExitStack() as silent:
            for _ in range(3):
                silent.enter_context(socket.create_connection(("127.0.0.1", main), 30))
            wait_until(lambda: _status(url, trusting) == 503)
            for _ in range(TOLD):
                silent.enter_context(socket.create_connection(("127.0.0.1", main), 30))
            # Who asked just now had a place for a while, which is another's then.
            wait_until(lambda: _takes_nobody(main, silent) and _takes_nobody(other, silent))
        wait_until(lambda: _status(url, trusting) == 200)


def test_a_handshake_that_takes_too_long_is_hung_up_on(certificate: Path) -> None:
    with _crowded(str(certificate), "0.5") as (main, *_):
        assert _is_hung_up_on(main)


# --- descriptors ------------------------------------------------------------------------------------------------------


def test_what_settings_may_come_to_need_is_told_where_it_is_too_much() -> None:
    few, enough = Descriptors(1024, 5000), Descriptors(8192, 5000)

    assert "1024 files may be open at once" in few.shortage
    assert "5000" in few.shortage
    assert enough.shortage == ""
    assert 0 < few.connections < 1024
    found = descriptors_of(Settings(_env_file=None, max_requests=1000, max_live_streams=1000))
    assert found is not None
    assert found.needed > 8000


@pytest.fixture(scope="module")
def server(starting: Starting) -> RealServer:
    """One for everything that runs out here and is there again, started with few descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        return starting().server
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(server: RealServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == min(hard, MEBIBYTE)


@contextlib.contextmanager
def _no_descriptors(server: RealServer) -> Iterator[None]:
    """It has as many files open as it may."""
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    # The limit is on the number of a descriptor, and those below it that are free can still be had: few.
    free = sorted(set(range(highest + 1)) - used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[0] if free else highest + 1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_without_descriptors_what_goes_on_goes_on_and_others_are_told_to_come_back(
    server: RealServer, phone_call: Path
) -> None:
    recording = (phone_call / "sample.wav").read_bytes()
    port = int(server.base.rpartition(":")[2])
    upload = Upload(server, phone_call / "sample.wav")
    wait_until(lambda: server.active() == 1)
    with httpx.Client(base_url=server.base, timeout=60) as kept:
        assert kept.get("/health/live").status_code == 200
        with _no_descriptors(server):
            answer = kept.post(PATH, files={"file": ("a.wav", recording)}, headers={"connection": "keep-alive"})
            assert answer.status_code == 429, answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert "files open" in answer.json()["error"]["message"]
            spent = _cpu_seconds(server)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as knocking:
                knocking.settimeout(2)
                knocking.recv(1)
            time.sleep(1)
            assert _cpu_seconds(server) - spent < 1.0, "it spins"
            assert server.process.poll() is None
    assert upload.finish().startswith(b"HTTP/1.1 200 ")
    again = httpx.post(f"{server.base}{PATH}", files={"file": ("a.wav", recording)}, timeout=120)
    assert again.status_code == 200
    assert list(server.temp.iterdir()) == []


def _cpu_seconds(server: RealServer) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


# --- the disk ---------------------------------------------------------------------------------------------------------


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(server: RealServer) -> Iterator[RealServer]:
    """A server whose TEMP_DIR is on a disk with one MiB."""
    if not _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(server.temp)):
        pytest.skip("nothing can be mounted here")
    try:
        yield server
    finally:
        subprocess.run(["umount", "-l", str(server.temp)], check=True)


def _posted(server: RealServer, data: bytes) -> httpx.Response:
    return httpx.post(f"{server.base}{PATH}", files={"file": ("a.wav", data)}, timeout=120)


def test_a_full_disk_is_told_and_nothing_stays_on_it_and_with_room_all_is_well(
    small_disk: RealServer, phone_call: Path
) -> None:
    recording = (phone_call / "sample.wav").read_bytes()
    for data in (recording + bytes(2 * MEBIBYTE), recording):  # the upload does not fit; the decoded sound does not
        answer = _posted(small_disk, data)
        assert answer.status_code == 507, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "storage_full"
        wait_until(lambda: list(small_disk.temp.iterdir()) == [])
    assert httpx.get(f"{small_disk.base}/health").json()["temp_low"] is True

    assert _mount("-o", "remount,size=2g", str(small_disk.temp))
    assert _posted(small_disk, recording).status_code == 200
    assert httpx.get(f"{small_disk.base}/health").json()["temp_low"] is False


def test_a_disk_that_cannot_be_written_any_more_is_told(small_disk: RealServer, phone_call: Path) -> None:
    recording = (phone_call / "sample.wav").read_bytes()
    assert _mount("-o", "remount,size=64m,ro", str(small_disk.temp))

    answer = _posted(small_disk, recording)

    assert answer.status_code == 500
    assert "may not write to its disk" in answer.json()["error"]["message"]
    assert _mount("-o", "remount,rw", str(small_disk.temp))
    assert _posted(small_disk, recording).status_code == 200
