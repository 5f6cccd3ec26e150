"""Jobs at the server's end: they wait for the next one, and the end waits for nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real.job_servers import JobServers, done, job_of, kept_of, long_recording, submit, wait_until

DELAY_SECONDS = 8.0
AT_ONCE_SECONDS = 20.0
"""An end that does not wait takes a second or two; what it must not wait for takes longer than this."""


@pytest.fixture
def servers(models_dir: Path, small_model: Path, tmp_path: Path) -> Iterator[JobServers]:
    made = JobServers(models_dir, small_model, tmp_path, SHUTDOWN_DELAY_SECONDS=str(DELAY_SECONDS))
    yield made
    made.kill()


def test_a_server_that_was_told_to_end_puts_its_job_back_and_answers_on(
    servers: JobServers, phone_call: Path, tmp_path: Path
) -> None:
    recording = long_recording(phone_call / "sample.wav", tmp_path / "long.wav", 20)
    server = servers.start()
    database = servers.counting()
    job_id = submit(server, recording)
    wait_until(lambda: len(kept_of(database, job_id)) >= 3)
    with httpx.Client(base_url=server.base, timeout=30) as client:  # made before, which takes a slow machine a while
        client.get("/health/live")
        server.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        state = "SELECT state FROM jobs WHERE id = ?"
        wait_until(lambda: database.execute(state, (job_id,)).fetchone() == ("queued",), DELAY_SECONDS)
        pieces = len(kept_of(database, job_id))
        assert client.get("/health/ready").status_code == 503
        assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
        waiting = client.post("/v1/jobs", files={"file": recording.read_bytes()}, data={"language": "en"})
        assert waiting.status_code == 202
    assert server.process.wait(60) == -signal.SIGTERM
    assert time.monotonic() - told < DELAY_SECONDS + AT_ONCE_SECONDS
    assert len(kept_of(database, job_id)) == pieces
    assert list(server.temp.iterdir()) == []
    assert "Traceback" not in server.log.read_text()

    following = servers.start()
    job = done(following, job_id)
    assert job["attempts"] == 2
    kept = kept_of(database, job_id)
    assert kept == list(range(len(kept)))
    assert job_of(following, waiting.json()["id"])["state"] in {"queued", "running", "succeeded"}
