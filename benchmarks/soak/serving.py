"""The server that is loaded: `python start.py` with keys, all its ports, and everything logged."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx

from app.settings import Settings
from benchmarks.server import ROOT, serving_python
from benchmarks.soak.asks import ADMIN, KEY
from benchmarks.soak.room import Room

_START_SECONDS, _STOP_SECONDS = 180.0, 90.0
_PORTS = {"oddasr": "ODDASR_WS_PORT", "wyoming": "WYOMING_PORT"}
DECODE_SECONDS = 8.0


class Server:
    """The server, which can be started again at the same ports. Everything it prints is in `log`.

    `models` is where the models are, `small` a folder that stands in for whisper-base, if one does.
    """

    def __init__(self, folder: Path, room: Room, log: Path, models: Path, small: Path | None) -> None:
        with contextlib.ExitStack() as held:
            taken = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(1 + len(_PORTS))]
            main, *others = [listener.getsockname()[1] for listener in taken]
        self.base = f"http://127.0.0.1:{main}"
        self.port: int = main
        self._ports = dict(zip(_PORTS, others, strict=True))
        self._folder = folder
        self._sink = log.open("wb")
        self._settings = self._made(room, models, small)
        self._process: subprocess.Popen[bytes] | None = None

    def _made(self, room: Room, models: Path, small: Path | None) -> dict[str, str]:
        settings = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "MODELS_DIR": str(models.resolve()),
            "DATA_DIR": str(room.data),
            "TEMP_DIR": str(room.temp),
            "DEVICE": "cpu",
            "ASR_MODEL": "whisper-base",
            "ASR_BEAM_SIZE": "1",
            "ASR_CHINESE_STYLE": "false",
            "SPEAKER_DIARIZATION": "asked",
            "API_KEYS": KEY,
            "ADMIN_KEYS": ADMIN,
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "SHUTDOWN_DELAY_SECONDS": "1",
            "DECODE_TIMEOUT_SECONDS": str(DECODE_SECONDS),
        }
        settings |= {setting: str(self._ports[name]) for name, setting in _PORTS.items()}
        return settings | ({"ASR_MODEL_DIR_WHISPER_BASE": str(small)} if small else {})

    def url(self, protocol: str) -> str:
        """Where a live protocol is spoken."""
        return f"http://127.0.0.1:{self._ports[protocol]}" if protocol in self._ports else self.base

    @property
    def pid(self) -> int:
        """The process's id; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it, and return at once."""
        names = {name.upper() for name in Settings.model_fields}
        clean = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("ASR_")}
        self._process = subprocess.Popen(
            [serving_python(), ROOT / "start.py"],
            cwd=self._folder,  # where no .env lies
            env=clean | self._settings,
            stdin=subprocess.DEVNULL,
            stdout=self._sink,
            stderr=self._sink,
            start_new_session=True,  # Ctrl-C is for this command, which then ends it
        )

    def wait_until_ready(self) -> None:
        """Raises RuntimeError: it does not become ready."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.base}/health/ready", trust_env=False, timeout=30).status_code == httpx.codes.OK:
                    return
            time.sleep(0.2)
        raise RuntimeError("the server did not become ready; its log says why")

    def terminate(self) -> None:
        """SIGTERM, and return at once."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)

    def ended(self) -> int | None:
        """Its exit status once it has ended, waiting for that; None: it did not, and was killed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def close(self) -> None:
        """Kill what is left."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._sink.close()
