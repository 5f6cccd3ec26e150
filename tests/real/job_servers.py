"""Real servers with jobs and a small model: started, killed and started again over one database, which counts."""

from __future__ import annotations

import sqlite3
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from .server import RealServer, start_server

START_SECONDS = 600.0
"""Each start is several of a machine that does nothing else; what counts here is what comes after."""
_COUNTING = """
    CREATE TABLE kept (job TEXT, channel INTEGER, number INTEGER);
    CREATE TRIGGER kept_piece AFTER INSERT ON job_pieces
        BEGIN INSERT INTO kept VALUES (new.job, new.channel, new.number); END;
"""


class JobServers:
    """Servers that share DATA_DIR, one after the other or several at once."""

    def __init__(self, models_dir: Path, small_model: Path, folder: Path, **settings: str) -> None:
        self._models_dir = models_dir
        self._folder = folder
        self._started: list[RealServer] = []
        self._settings = {
            "ASR_MODEL_DIR_WHISPER_BASE": str(small_model),
            "ASR_CHINESE_STYLE": "false",
            "SPEAKER_DIARIZATION": "off",
            "MAX_SEGMENT_SEC": "5",
            "DATA_DIR": str(folder / "data"),
        } | settings

    @property
    def database(self) -> Path:
        return self._folder / "data" / "jobs.db"

    def start(self) -> RealServer:
        """One more; it is ready."""
        folder = self._folder / f"server-{len(self._started)}"
        folder.mkdir()
        server = start_server(self._models_dir, folder, **self._settings)
        self._started.append(server)
        server.wait_until_ready(START_SECONDS)
        key = self._settings.get("API_KEYS")
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        asked = httpx.get(f"{server.base}/v1/jobs", headers=headers, timeout=60)
        asked.raise_for_status()  # from here on there is a database
        return server

    def kill(self) -> None:
        """All that still run."""
        for server in self._started:
            server.process.kill()
            server.process.wait()

    def logs(self) -> str:
        return "".join(server.log.read_text() for server in self._started)

    def counting(self) -> sqlite3.Connection:
        """The database, which counts what is kept from here on: `kept` has a row each time a piece is. One server must
        have been ready."""
        database = sqlite3.connect(self.database, isolation_level=None, timeout=30)
        database.executescript(_COUNTING)
        return database


def long_recording(source: Path, target: Path, times: int, *, pause: float = 0.0) -> Path:
    """A WAV file several times over, with silence after each."""
    with wave.open(str(source), "rb") as read:
        settings, sound = read.getparams(), read.readframes(read.getnframes())
    silence = bytes(int(pause * settings.framerate) * settings.sampwidth * settings.nchannels)
    with wave.open(str(target), "wb") as written:
        written.setparams(settings)
        written.writeframes((sound + silence) * times)
    return target


def submit(server: RealServer, recording: Path) -> str:
    """A job's id."""
    with recording.open("rb") as file:
        answer = httpx.post(f"{server.base}/v1/jobs", files={"file": file}, data={"language": "en"}, timeout=120)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def job_of(server: RealServer, job_id: str) -> dict[str, Any]:
    return httpx.get(f"{server.base}/v1/jobs/{job_id}", timeout=60).json()


def done(server: RealServer, job_id: str, seconds: float = 240.0) -> dict[str, Any]:
    """The job once it has succeeded."""

    def ended() -> bool:
        assert server.process.poll() is None, server.log.read_text()[-3000:]
        return job_of(server, job_id)["state"] not in {"queued", "running"}

    wait_until(ended, seconds, pause=0.1)
    job = job_of(server, job_id)
    assert job["state"] == "succeeded", job
    return job


def result_of(server: RealServer, job_id: str) -> dict[str, Any]:
    """Its transcript with all that is known of it."""
    answer = httpx.get(f"{server.base}/v1/jobs/{job_id}/result?response_format=verbose_json", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_until(condition: Callable[[], bool], seconds: float = 120.0, *, pause: float = 0.001) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(pause)


def kept_of(database: sqlite3.Connection, job_id: str) -> Sequence[int]:
    """The numbers of its pieces, each as often as it was kept."""
    return [row[0] for row in database.execute("SELECT number FROM kept WHERE job = ? ORDER BY number", (job_id,))]
