"""The server as a user starts it: `python start.py` in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
"""More than loading takes on a slow, busy machine."""


@dataclass(frozen=True)
class RealServer:
    """The server as a user starts it. `temp` is its TEMP_DIR, `log` what it printed."""

    base: str
    process: subprocess.Popen[bytes]
    temp: Path
    log: Path

    def active(self) -> int:
        """Requests in progress."""
        return int(httpx.get(f"{self.base}/health").json()["active_requests"])

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.base}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        pytest.fail(f"the server did not become ready:\n{self.log.read_text()[-3000:]}")

    def stop(self, how: signal.Signals) -> int:
        """Its exit status after the signal; nothing of it may be left in its temporary folder."""
        self.process.send_signal(how)
        status = self.process.wait(30)
        assert list(self.temp.iterdir()) == [], "the server left files behind"
        return status


def start_server(models_dir: Path, folder: Path, before: Sequence[str] = (), **settings: str) -> RealServer:
    """`python start.py` in an environment without anybody's settings but these, as an argument of the command `before`
    if there is one; not ready yet."""
    temp, log = folder / "temp", folder / "log"
    temp.mkdir()
    names = {name.upper() for name in Settings.model_fields}
    clean = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("ASR_")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [*before, sys.executable, ROOT / "start.py"],
        cwd=folder,  # where no .env lies
        env=clean
        | {"HOST": "127.0.0.1", "PORT": str(port), "MODELS_DIR": str(models_dir), "TEMP_DIR": str(temp)}
        | {"DEVICE": "cpu", "ASR_MODEL": "whisper-base"}  # whatever else this machine may have or be able to fetch
        | settings,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    return RealServer(f"http://127.0.0.1:{port}", process, temp, log)
