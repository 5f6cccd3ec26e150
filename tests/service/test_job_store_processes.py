"""Several processes on one database, of which some are killed: each job ends once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from real.server import ROOT
from service.job_stores import FIXTURES, HOOK, Place, a_request
from sqlalchemy import create_engine

from app.service.jobs.store import JobStore
from app.service.jobs.submitting import Submission, insert_job

place, made_sqlite, made_postgresql, postgresql = FIXTURES
JOBS, PROCESSES, KILLS = 500, 4, 8
WORKER = Path(__file__).with_name("job_worker.py")


def fill(place: Place) -> set[str]:
    """As `submit` does, but in one transaction."""
    ids = {f"job_{number:024x}" for number in range(JOBS)}
    request = a_request(address="https://example.com/a.wav", webhook=HOOK)

    async def scenario(store: JobStore) -> None:
        owners = {job_id: f"owner {int(job_id[4:], 16) % 3}" for job_id in ids}
        await store._database.write(
            lambda session: [
                insert_job(session, job_id, Submission(owner, request, None, JOBS), time.time())
                for job_id, owner in sorted(owners.items())
            ]
        )

    place.run(scenario)
    return ids


def start(place: Place, name: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(WORKER), place.url, str(place.folder), name]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths})


def asked(place: Place, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(place.url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(statement)]
    engine.dispose()
    return found


def logged(place: Place, what: str) -> list[str]:
    """The jobs of which a worker said that."""
    log = place.folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith(what)]


@pytest.mark.timeout(1500)
def test_however_many_processes_and_kills_each_job_ends_exactly_once(place: Place) -> None:
    chance = random.Random(11)
    ids = fill(place)
    workers = [start(place, f"worker-{number}") for number in range(PROCESSES)]
    killed = 0
    try:
        until = time.monotonic() + 1200
        while asked(place, "SELECT count(*) FROM jobs WHERE state <> 'succeeded'") != [(0,)]:
            assert time.monotonic() < until
            if killed < KILLS and len(logged(place, "ended")) >= (killed + 1) * JOBS // (KILLS + 2):
                victim = chance.randrange(PROCESSES)
                workers[victim].kill()
                workers[victim].wait()
                killed += 1
                workers[victim] = start(place, f"worker-{victim}-{killed}")
            time.sleep(chance.random() / 10)
        (place.folder / "stop").touch()
        assert [worker.wait(120) for worker in workers] == [0] * PROCESSES
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert killed == KILLS
    ended = Counter(logged(place, "ended"))
    assert max(ended.values()) == 1
    assert set(ended) <= ids
    assert len(ids) - len(ended) <= KILLS, "killed between the end of a job and saying so"
    assert asked(place, "SELECT count(*) FROM job_transcripts") == [(JOBS,)]
    assert asked(place, "SELECT state, count(*) FROM job_notices GROUP BY state ORDER BY state") == [
        ("queued", JOBS),
        ("running", JOBS),
        ("succeeded", JOBS),
    ]
    began = Counter(logged(place, "began"))
    attempts = dict(asked(place, "SELECT id, attempts FROM jobs"))
    assert all(attempts[job_id] >= times for job_id, times in began.items())
