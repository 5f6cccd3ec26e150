"""The server under test, started as a user starts it, and the clients that load it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from benchmarks.measures import Clip, Run
from benchmarks.progress import bar

ROOT = Path(__file__).resolve().parents[1]
MODEL = "whisper-base"
_START_SECONDS, _STOP_SECONDS, _ANSWER_SECONDS = 120.0, 20.0, 900.0
_SETTINGS = {
    "ASR_MODEL": MODEL,
    "ASR_COMPUTE_TYPE": "int8",
    "ASR_BEAM_SIZE": "5",
    "ASR_THREADS": "0",
    "API_KEYS": "",
    "APPTOKEN": "",
    "LOG_LEVEL": "WARNING",
    "LOG_FILE": "",
}
"""What makes it comparable. All else (MODELS_DIR, say) is as the caller's environment and .env have it."""


def serving_python() -> Path:
    """The interpreter that serves: `make run`'s, or this one where there is none."""
    own = ROOT / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


class Server:
    """`python start.py` on a free port, with `settings` of its own. A context manager. Its log goes to `log`.

    `python` is the interpreter that serves (None: `serving_python`), `patience` how long it may take to start.

    Raises:
        RuntimeError: it did not become ready; the end of its log is in the message.
    """

    def __init__(
        self, log: Path, *, python: Path | None = None, patience: float = _START_SECONDS, **settings: str
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._patience = patience
        command = [str(python or serving_python()), "start.py", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **_SETTINGS, **settings},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def run(self, clips: Sequence[Clip], *, clients: int, words: bool = False, label: str = "") -> Run:
        """Have `clients` clients send the clips, each its next one as soon as the last is answered.

        Raises:
            RuntimeError: an answer was no transcript.
        """
        with bar(label or f"server, {clients} clients", len(clips)) as progress:
            return asyncio.run(_load(self.url, clips, clients, words, progress.update))

    def close(self) -> None:
        """Stop it and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.2)
        end = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        raise RuntimeError(f"the server did not become ready; the end of its log:\n{end}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def _load(url: str, clips: Sequence[Clip], clients: int, words: bool, done: Callable[[], object]) -> Run:
    contents = {clip.path: clip.path.read_bytes() for clip in clips}
    waiting = deque(enumerate(clips))
    latencies = [0.0] * len(clips)
    texts: dict[str, str] = {}

    async def client() -> None:
        while waiting:
            index, clip = waiting.popleft()
            started = time.perf_counter()
            texts[clip.name] = await _ask(http, clip, contents[clip.path], words)
            latencies[index] = time.perf_counter() - started
            done()

    async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS, trust_env=False) as http:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
        wall = time.perf_counter() - began
    return Run(wall, sum(clip.seconds for clip in clips), tuple(latencies), texts)


async def _ask(http: httpx.AsyncClient, clip: Clip, content: bytes, words: bool) -> str:
    form = {"model": MODEL, "language": clip.language, "response_format": "verbose_json" if words else "json"}
    if words:
        form["timestamp_granularities[]"] = "word"
    response = await http.post("/v1/audio/transcriptions", data=form, files={"file": (clip.path.name, content)})
    if response.status_code != httpx.codes.OK or response.headers.get("x-asr-model") != MODEL:
        raise RuntimeError(f"{clip.name}: {response.status_code} {response.text[:300]}")
    body = response.json()
    if words and body["text"] and not body["words"]:
        raise RuntimeError(f"{clip.name}: asked for word times, got none")
    return str(body["text"])
