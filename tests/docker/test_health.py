"""The image's health check, against servers of its own on this machine."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

SCRIPT = Path(__file__).parents[2] / "docker" / "health.py"


@contextmanager
def answering(status: int, certificate: trustme.LeafCert | None = None) -> Iterator[int]:
    """A server whose /health/ready has that status; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()
            self.wfile.write(b'{"status":"whatever"}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs a copy, as the image has one: beside the original may be a developer's .env."""
    (tmp_path / "docker").mkdir()
    copy = tmp_path / "docker" / "health.py"
    copy.write_bytes(SCRIPT.read_bytes())

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`words` are those of the container's first process."""
        (tmp_path / "cmdline").write_bytes("\0".join([*words, ""]).encode())
        clean = {name: value for name, value in os.environ.items() if name not in {"HOST", "PORT", "TLS_CERT_FILE"}}
        asking = "import sys, pathlib, health; sys.exit(health.main(pathlib.Path(sys.argv[1])))"
        return subprocess.run(
            [sys.executable, "-c", asking, tmp_path / "cmdline"],
            env={**clean, "PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_ready_is_0(check: Check) -> None:
    with answering(200) as port:
        result = check(PORT=str(port), HOST="0.0.0.0")
    assert result.returncode == 0
    assert "whatever" in result.stdout


@pytest.mark.parametrize("status", [503, 404, 500])
def test_anything_else_is_1(check: Check, status: int) -> None:
    with answering(status) as port:
        assert check(PORT=str(port)).returncode == 1


def test_nobody_there_is_1_and_no_traceback(check: Check) -> None:
    with answering(200) as port:
        pass
    result = check(PORT=str(port))
    assert result.returncode == 1
    assert result.stderr == ""


def test_where_a_certificate_is_set_it_asks_by_https(check: Check) -> None:
    certificate = trustme.CA().issue_cert("speech.example.org")  # not this address's name
    with answering(200, certificate) as port:
        assert check(PORT=str(port), TLS_CERT_FILE="/etc/tls/tls.crt").returncode == 0
        assert check(PORT=str(port), TLS_CERT_FILE="").returncode == 1


def test_settings_beside_start_py_count_where_the_environment_says_nothing(check: Check, tmp_path: Path) -> None:
    with answering(200) as port:
        (tmp_path / ".env").write_text(f"PORT={port}\nTLS_CERT_FILE=\n")
        assert check().returncode == 0
        assert check(PORT="1").returncode == 1


@pytest.mark.parametrize("given", [("--port", "{}"), ("--port={}",), ("--host", "127.0.0.1", "--port", "{}")])
def test_the_command_line_wins(check: Check, given: tuple[str, ...]) -> None:
    with answering(200) as port:
        words = [word.format(port) for word in given]
        assert check("/opt/venv/bin/python", "/app/start.py", "serve", *words, PORT="1", HOST="::1").returncode == (
            0 if "--host" in given else 1
        )
        assert check("/sbin/docker-init", "--", "/app/docker/entrypoint.sh", "serve", *words, PORT="1").returncode == 0
        assert check("/bin/other", *words, PORT="1").returncode == 1, "some other program's options"
