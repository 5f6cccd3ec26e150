"""A real server whose jobs' database another program holds: it says so, does all else, and goes on afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from models.small_whisper import make_small_whisper

from .job_servers import JobServers, done, job_of, kept_of, long_recording, result_of, submit, wait_until


@pytest.fixture
def servers(models_dir: Path, tmp_path: Path) -> Iterator[JobServers]:
    small = make_small_whisper(tmp_path / "small", models_dir / "whisper-base")
    made = JobServers(models_dir, small, tmp_path, JOB_LEASE_SECONDS="4")
    yield made
    made.kill()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """While another program writes to a database and does not come to an end."""
    other = sqlite3.connect(path, isolation_level=None, timeout=60)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_database_that_is_held_is_said_and_waited_for(servers: JobServers, phone_call: Path, tmp_path: Path) -> None:
    call = phone_call / "sample.wav"
    recording = long_recording(call, tmp_path / "long.wav", 6)
    server = servers.start()
    database = servers.counting()
    job_id = submit(server, recording)
    wait_until(lambda: len(kept_of(database, job_id)) >= 3)
    with held(servers.database), httpx.Client(base_url=server.base, timeout=120) as client:
        refused = client.post("/v1/jobs", files={"file": call.read_bytes()}, data={"language": "en"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "jobs_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        pieces = len(kept_of(database, job_id))
        assert job_of(server, job_id)["state"] == "running"  # reading is possible
        said = client.post("/v1/audio/transcriptions", files={"file": call.read_bytes()}, data={"language": "en"})
        assert said.status_code == 200
        assert said.json()["text"]
        wait_until(lambda: "jobs_unavailable" in servers.logs() or "cannot be used" in servers.logs(), 60)
        assert len(kept_of(database, job_id)) == pieces
    job = done(server, job_id)
    kept = kept_of(database, job_id)
    assert kept == list(range(len(kept)))
    assert job["progress"]["pieces_done"] == job["progress"]["pieces_total"] == len(kept)
    undisturbed = submit(server, recording)
    done(server, undisturbed)
    assert result_of(server, job_id) == result_of(server, undisturbed)
    assert "[parameters" not in servers.logs()  # what was asked of the database stays out of the log
