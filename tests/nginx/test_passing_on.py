"""What nginx passes on: whole, at once, and with who asked; and what it keeps to itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real.test_together import until

from .certificates import make_certificate
from .proxy import Nginx, from_client, refused, running

MEBIBYTE = 1024 * 1024
KEY = "a-key-that-is-secret"
CLIENT = "127.0.0.9"


def test_the_server_sees_who_asks_and_how(before_echo: Nginx) -> None:
    with from_client(CLIENT) as http:
        answer = http.get(f"{before_echo.base}/v1/some%20where?x=1", headers={"x-forwarded-for": "6.6.6.6"})
    told = answer.json()
    assert told["client"] == CLIENT, "whatever the client says"
    assert told["scheme"] == "http"
    assert told["path"] == "/v1/some where"
    headers = told["headers"]
    assert headers["host"] == headers["x-forwarded-host"] == before_echo.base.removeprefix("http://")
    assert headers["x-forwarded-for"] == CLIENT
    assert "upgrade" not in headers
    assert "server" not in answer.headers or "/" not in answer.headers["server"], "no version is told"


def test_a_request_keeps_its_name(before_echo: Nginx) -> None:
    named = httpx.get(f"{before_echo.base}/seen", headers={"x-request-id": "mine-1"}).json()["headers"]
    assert named["x-request-id"] == "mine-1"
    forged = httpx.get(f"{before_echo.base}/seen", headers={"x-request-id": 'a" b'}).json()["headers"]
    assert len(forged["x-request-id"]) == 32
    assert until(lambda: "id=mine-1" in before_echo.log.read_text())


def test_a_large_upload_is_not_written_to_disk(before_echo: Nginx) -> None:
    seen: list[Path] = []

    def zeros() -> Iterator[bytes]:
        for number in range(300):
            if number % 50 == 49:
                seen.extend(before_echo.buffered())
            yield bytes(MEBIBYTE)

    answer = httpx.post(f"{before_echo.base}/v1/audio/transcriptions", content=zeros(), timeout=120)
    assert answer.json()["bytes"] == 300 * MEBIBYTE
    assert seen == before_echo.buffered() == []


def test_an_announced_upload_goes_through_as_well(before_echo: Nginx) -> None:
    answer = httpx.post(f"{before_echo.base}/seen", content=bytes(60 * MEBIBYTE), timeout=120)
    assert (answer.json()["bytes"], answer.json()["headers"]["content-length"]) == (60 * MEBIBYTE, str(60 * MEBIBYTE))


def test_events_arrive_one_by_one(before_echo: Nginx) -> None:
    with httpx.stream("GET", f"{before_echo.base}/steps", headers={"accept-encoding": "gzip"}, timeout=30) as answer:
        assert "content-encoding" not in answer.headers
        events = answer.iter_raw()
        for _ in range(3):  # each is asked for only once the one before has come
            assert httpx.get(f"{before_echo.base}/step").text == "done"
            assert next(events) == b"data: step\n\n"


def test_json_is_compressed(before_echo: Nginx) -> None:
    answer = httpx.get(f"{before_echo.base}/large", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["text"].count("word") == 2000


def test_large_headers_go_through(before_echo: Nginx) -> None:
    told = httpx.get(f"{before_echo.base}/seen", headers={"x-large": "a" * 30_000, "with_underscore": "yes"}).json()
    assert len(told["headers"]["x-large"]) == 30_000
    assert told["headers"]["with_underscore"] == "yes"


def test_a_slow_client_is_heard_out(before_echo: Nginx) -> None:
    host, port = before_echo.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(b"POST /seen HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\nconnection: close\r\n\r\n")
        for letter in b"sounds":
            time.sleep(0.2)
            client.sendall(bytes([letter]))
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["bytes"] == 6


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/metrics/", "/v1/admin", "/v1/admin/running/x", "//v1//admin", "/v1/%61dmin", "/openai/v1/admin"],
)
def test_what_is_for_operators_is_not_for_everybody(before_echo: Nginx, path: str) -> None:
    answer = httpx.get(f"{before_echo.base}{path}")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "permission_denied"
    assert "NGINX_OPERATOR_NETWORKS" in answer.json()["error"]["message"]


def test_operators_come_from_their_networks(tmp_path: Path, echo: str) -> None:
    with running(tmp_path, [echo], NGINX_OPERATOR_NETWORKS="127.0.0.8/32,10.0.0.0/8") as nginx:
        with from_client("127.0.0.8") as operator:
            assert operator.get(f"{nginx.base}/v1/admin").json()["path"] == "/v1/admin"
        with from_client(CLIENT) as other:
            assert other.get(f"{nginx.base}/v1/admin").status_code == 403


def test_a_proxy_before_it_is_believed_only_if_it_is_named(tmp_path: Path, echo: str) -> None:
    said = {"x-forwarded-for": "9.9.9.9, 203.0.113.7", "x-forwarded-proto": "https"}
    with running(tmp_path, [echo], NGINX_REAL_IP_FROM="127.0.0.8") as nginx:
        with from_client("127.0.0.8") as proxy:
            believed = proxy.get(f"{nginx.base}/seen", headers=said).json()
        with from_client(CLIENT) as other:
            doubted = other.get(f"{nginx.base}/seen", headers=said).json()
    assert (believed["client"], believed["scheme"]) == ("203.0.113.7", "https")
    assert (doubted["client"], doubted["scheme"]) == (CLIENT, "http")


def test_a_certificate_makes_it_https_and_http2(tmp_path: Path, echo: str) -> None:
    certificate = make_certificate(tmp_path / "tls")
    with running(tmp_path, [echo]) as nginx:
        trusted = ssl.create_default_context(cafile=str(certificate))
        told = httpx.get(f"{nginx.base}/seen", verify=trusted).json()
        assert told["scheme"] == "https"
        trusted.set_alpn_protocols(["h2", "http/1.1"])
        host, port = nginx.base.removeprefix("https://").split(":")
        with (
            socket.create_connection((host, int(port))) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as client,
        ):
            assert client.selected_alpn_protocol() == "h2"
            assert client.version() in {"TLSv1.2", "TLSv1.3"}
        refused = httpx.get(f"http://{host}:{port}/seen")
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


def test_no_key_is_logged(tmp_path: Path, echo: str) -> None:
    with running(tmp_path, [echo], NGINX_RATE_LIMIT_RPS="1", MAX_AUDIO_SIZE="1MB") as nginx:
        address, headers = f"{nginx.base}/stream/v1/asr?token={KEY}", {"authorization": f"Bearer {KEY}"}
        assert httpx.post(address, headers=headers, content=bytes(4 * MEBIBYTE)).status_code == 413
        assert refused(address, headers=headers).status_code == 429
        assert until(lambda: "POST /stream/v1/asr 429" in nginx.log.read_text())
    with running(tmp_path / "alone", ["127.0.0.1:1"]) as nginx:
        assert httpx.get(f"{nginx.base}/v1/realtime?token={KEY}", headers=headers).status_code == 502
        assert until(lambda: "GET /v1/realtime 502" in nginx.log.read_text())
        logged = nginx.log.read_text() + (tmp_path / "log").read_text()
    assert KEY not in logged
    assert "token" not in logged


def test_no_key_is_logged_where_nginx_itself_fails(tmp_path: Path) -> None:
    """Its connections are used up: it would tell that with the request's line. A worker dies: that it tells."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = [f"127.0.0.1:{silent.getsockname()[1]}"]
        with running(tmp_path, servers, NGINX_WATCH_SECONDS="3600") as nginx, contextlib.ExitStack() as held:
            conf = tmp_path / "nginx.conf"
            few = conf.read_text().replace("worker_connections 16384", "worker_connections 12")
            conf.write_text(few.replace("worker_processes auto", "worker_processes 1"))
            before = workers(nginx)
            nginx.process.send_signal(signal.SIGHUP)
            assert until(lambda: len(workers(nginx)) == 1 and not workers(nginx) & before)
            asked = f"GET /v1/realtime?token={KEY} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
            host, port = nginx.base.removeprefix("http://").split(":")
            clients: list[socket.socket] = []

            def refused() -> bool:
                client = held.enter_context(socket.create_connection((host, int(port)), 20))
                client.sendall(asked)
                clients.append(client)
                return bool(select.select(clients, [], [], 0.1)[0])

            assert until(refused), "every connection is one more to the server behind, and there are twelve"
            for worker in workers(nginx):
                os.kill(worker, signal.SIGKILL)
            assert until(lambda: "exited on signal 9" in nginx.log.read_text())
            logged = nginx.log.read_text()
    assert KEY not in logged
    assert "token" not in logged


def workers(nginx: Nginx) -> set[int]:
    """Process ids of its workers."""
    listed = Path(f"/proc/{nginx.process.pid}/task/{nginx.process.pid}/children").read_text()
    return {int(one) for one in listed.split()}
