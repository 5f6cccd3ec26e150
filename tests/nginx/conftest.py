from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real.server import ROOT
from real.test_together import until

from .proxy import Nginx, free_ports, need_nginx, running


@pytest.fixture(scope="session", autouse=True)
def _nginx_is_here() -> None:
    need_nginx()


@pytest.fixture(scope="session")
def echo() -> Iterator[str]:
    """Where the server of echo.py answers: "127.0.0.1:8000"."""
    port = free_ports(1)[0]
    script = Path(__file__).with_name("echo.py")
    process = subprocess.Popen([sys.executable, script, str(port)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)})

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        return False

    try:
        assert until(answers, 30)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def before_echo(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx as it is shipped, before it."""
    with running(tmp_path_factory.mktemp("nginx"), [echo], MAX_AUDIO_SIZE="500MB") as nginx:
        yield nginx
