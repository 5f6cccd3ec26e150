"""How ports close: who has connected is answered, and who comes later is refused, which clients and proxies know."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from real.server import ROOT

from .knocking import knock_through

_PROGRAM = """
import sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from app.ports import Ending, ServedApp, serve_all

async def live(request):
    return PlainTextResponse("here")

app = Starlette(routes=[Route("/health/live", live)])
serve_all(ServedApp(app, "127.0.0.1", int(sys.argv[1]), "PORT"), ending=Ending(delay=float(sys.argv[2])))
"""


@contextmanager
def _served(delay: float) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(port), str(delay)], cwd=ROOT)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.2, 0.2])
def test_no_connection_that_was_accepted_is_reset(delay: float) -> None:
    with _served(delay) as (process, port):
        _wait_for(process, port)
        outcomes = knock_through(port, lambda: process.send_signal(signal.SIGTERM))
        status = process.wait(20)

    print(outcomes)
    assert set(outcomes) == {"answered 200", "refused"}
    assert status == -signal.SIGTERM


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=30) as client:
        assert client.get(f"http://127.0.0.1:{port}/health/live").text == "here", process.poll()
