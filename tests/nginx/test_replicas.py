"""Several servers behind nginx: who is gone or not ready is not asked, and whoever asks does not notice."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from real.test_together import until

from .proxy import free_ports, running, watch


@dataclass
class Replica:
    """A server that says its name, ready or not. `asked` counts requests that are no look at its health."""

    port: int
    ready: bool = True
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def up(replica: Replica) -> Generator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"

        def do_GET(self) -> None:
            health = self.path == "/health/ready"
            if not health:
                with replica.lock:
                    replica.asked += 1
            body = str(replica.port).encode()
            self.send_response(200 if replica.ready else 503)
            self.send_header("content-length", str(len(body)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", replica.port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def replicas() -> list[Replica]:
    return [Replica(port) for port in free_ports(3)]


def posts(base: str, count: int = 20) -> set[tuple[int, str]]:
    with httpx.Client(timeout=30) as http:
        answers = [http.post(f"{base}/v1/audio/transcriptions", content=b"sound" * 1000) for _ in range(count)]
    return {(answer.status_code, answer.text) for answer in answers}


def outs(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_work_is_shared_and_who_is_not_ready_gets_none(tmp_path: Path, replicas: list[Replica]) -> None:
    one, two, three = replicas
    with up(one), up(two), up(three), running(tmp_path, [each.address for each in replicas]) as nginx:
        assert posts(nginx.base) == {(200, str(each.port)) for each in replicas}
        two.ready = False
        assert until(lambda: outs(nginx.out) == {"1"})
        before = two.asked
        assert posts(nginx.base) == {(200, str(one.port)), (200, str(three.port))}
        one.ready = False
        assert until(lambda: outs(nginx.out) == {"0", "1"})
        assert posts(nginx.base) == {(200, str(three.port))}
        assert two.asked == before
        one.ready = two.ready = True
        assert until(lambda: outs(nginx.out) == set())
        assert posts(nginx.base) == {(200, str(each.port)) for each in replicas}


def test_with_none_ready_all_are_asked_and_say_so_themselves(tmp_path: Path, replicas: list[Replica]) -> None:
    one, two = replicas[:2]
    one.ready = two.ready = False
    with up(one), up(two), running(tmp_path, [one.address, two.address]) as nginx:
        assert outs(nginx.out) == {"0", "1"}, "looked at before nginx starts"
        assert posts(nginx.base) == {(503, str(one.port)), (503, str(two.port))}


def test_who_refuses_the_connection_is_passed_over_unnoticed(tmp_path: Path, replicas: list[Replica]) -> None:
    """Even before the watch has seen it: a POST of which nothing was sent goes to the next."""
    one, two = replicas[:2]
    with up(one):
        slow_watch = {"NGINX_WATCH_SECONDS": "3600"}
        with up(two), running(tmp_path, [one.address, two.address], **slow_watch) as nginx:
            assert posts(nginx.base) == {(200, str(one.port)), (200, str(two.port))}
        with running(tmp_path / "again", [one.address, two.address], **slow_watch) as nginx:
            (nginx.out / "1").unlink()
            assert posts(nginx.base) == {(200, str(one.port))}


def test_a_proxy_of_the_environment_is_not_asked(tmp_path: Path, replicas: list[Replica]) -> None:
    one, proxy = replicas[:2]
    proxy.ready = False
    with up(one), up(proxy), watch(tmp_path, [one.address], http_proxy=f"http://{proxy.address}"):
        assert outs(tmp_path / "run" / "out") == set()


def test_who_cannot_be_reached_is_out_and_who_is_busy_is_not(tmp_path: Path) -> None:
    """No answer in time, for two reasons: connections that nobody takes any more, and one that is taken."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_server(("127.0.0.1", 0)) as busy:
        servers = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (full, busy)]
        with contextlib.ExitStack() as held:
            for _ in range(4):
                client = held.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            with watch(tmp_path, servers):
                assert outs(tmp_path / "run" / "out") == {"0"}


def test_the_watch_outlives_what_fails_and_says_when_it_looked(tmp_path: Path, replicas: list[Replica]) -> None:
    one = replicas[0]
    run = tmp_path / "run"
    with up(one), watch(tmp_path, [one.address], NGINX_WATCH_SECONDS="0.1"):
        looked = (run / "watched").stat().st_mtime_ns
        assert until(lambda: (run / "watched").stat().st_mtime_ns > looked)
        shutil.rmtree(run / "out")
        one.ready = False
        assert until(lambda: "out/0" in (tmp_path / "log").read_text()), "it could not write that"
        looked = (run / "watched").stat().st_mtime_ns
        (run / "out").mkdir()
        assert until(lambda: outs(run / "out") == {"0"})
        assert until(lambda: (run / "watched").stat().st_mtime_ns > looked)
