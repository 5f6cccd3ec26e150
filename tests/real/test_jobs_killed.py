"""Jobs of real servers that are killed while they work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from models.small_whisper import make_small_whisper

from .job_servers import (
    JobServers,
    done,
    job_of,
    kept_of,
    long_recording,
    result_of,
    submit,
    wait_until,
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]  # servers are started a dozen times
KILLS = 10
SOON = "2"
"""Seconds after which a job of a server that was killed is gone on with. A busy machine may renew too late for that."""
SEED = 7


@pytest.fixture(scope="module")
def small_model(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_whisper(tmp_path_factory.mktemp("models") / "small", models_dir / "whisper-base")


@pytest.fixture
def servers(
    models_dir: Path, small_model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[JobServers]:
    made = JobServers(models_dir, small_model, tmp_path, **getattr(request, "param", {}))
    yield made
    made.kill()


short_leases = pytest.mark.parametrize("servers", [{"JOB_LEASE_SECONDS": SOON}], indirect=True, ids=["short-leases"])


def attempts_of(database: sqlite3.Connection, job_id: str) -> int:
    return database.execute("SELECT attempts FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]


@short_leases
def test_a_job_whose_server_is_killed_ten_times_says_what_it_would_have_said(
    servers: JobServers, phone_call: Path, tmp_path: Path
) -> None:
    recording = long_recording(phone_call / "sample.wav", tmp_path / "long.wav", 40)
    chance = random.Random(SEED)
    server = servers.start()
    database = servers.counting()
    job_id = submit(server, recording)
    for number in range(KILLS):
        # Some kills come before anything is kept anew: while it is decoded, say. Not five in a row, which would end it.
        pieces = chance.randint(0, 4) if number % 3 else chance.randint(1, 4)
        enough = len(kept_of(database, job_id)) + pieces
        wait_until(lambda number=number: attempts_of(database, job_id) > number)
        wait_until(lambda enough=enough: len(kept_of(database, job_id)) >= enough)
        time.sleep(chance.uniform(0, 0.3))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server = servers.start()
    job = done(server, job_id)
    kept = kept_of(database, job_id)
    assert len(kept) == job["progress"]["pieces_total"] >= 40
    assert kept == list(range(len(kept))), "a piece was recognised again that was kept"
    assert job["attempts"] > KILLS
    undisturbed = submit(server, recording)
    done(server, undisturbed)
    assert result_of(server, job_id) == result_of(server, undisturbed)
    assert "Traceback" not in servers.logs()


def test_two_servers_share_a_database_and_do_each_job_once(
    servers: JobServers, phone_call: Path, tmp_path: Path
) -> None:
    recording = long_recording(phone_call / "sample.wav", tmp_path / "long.wav", 1)
    first, second = servers.start(), servers.start()
    database = servers.counting()
    jobs = [submit(server, recording) for server in (first, second) * 6]
    for job_id in jobs:
        assert done(second, job_id)["attempts"] == 1
        kept = kept_of(database, job_id)
        assert kept == list(range(len(kept)))
    told = [server.log.read_text().count("job done") for server in (first, second)]
    assert sum(told) == len(jobs)
    assert min(told) > 0, "one of them did them all"


@short_leases
def test_jobs_of_a_server_that_was_killed_are_gone_on_with_by_another(
    servers: JobServers, phone_call: Path, tmp_path: Path
) -> None:
    recording = long_recording(phone_call / "sample.wav", tmp_path / "long.wav", 20)
    pair = [servers.start(), servers.start()]
    database = servers.counting()
    job_id = submit(pair[0], recording)
    wait_until(lambda: len(kept_of(database, job_id)) >= 5)
    runner = database.execute("SELECT runner FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
    (killed,) = [server for server in pair if f"-{server.process.pid}-" in runner]
    killed.process.kill()
    killed.process.wait()
    (other,) = [server for server in pair if server is not killed]
    assert job_of(other, job_id)["state"] == "running"
    assert done(other, job_id)["attempts"] >= 2
    kept = kept_of(database, job_id)
    assert kept == list(range(len(kept)))
    assert other.log.read_text().count("job gone on with") >= 1
