"""A thousand small jobs, and servers that end in every way meanwhile: each job ends once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from service.job_work import Desk

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
JOBS = 1000
ENDS = ((250, signal.SIGTERM), (500, signal.SIGKILL), (750, signal.SIGTERM))
"""After how many jobs a server ends, and how."""
TESTS = Path(__file__).parents[1]
_COUNTING = """
    CREATE TABLE seen (job TEXT, what TEXT);
    CREATE TRIGGER seen_end AFTER UPDATE OF state ON jobs
        WHEN new.state IN ('succeeded', 'failed', 'cancelled') AND old.state != new.state
        BEGIN INSERT INTO seen VALUES (new.id, new.state); END;
    CREATE TRIGGER seen_piece AFTER INSERT ON job_pieces BEGIN INSERT INTO seen VALUES (new.job, 'piece'); END;
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-m", "service.job_server", str(folder)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def count(database: sqlite3.Connection, what: str) -> int:
    return database.execute("SELECT count(*) FROM seen WHERE what = ?", (what,)).fetchone()[0]


def wait_for(database: sqlite3.Connection, number: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 400
    while count(database, "succeeded") < number:
        assert time.monotonic() < until, f"{count(database, 'succeeded')} of {number} jobs have ended"
        assert server.poll() is None, "the server has ended by itself"
        time.sleep(0.02)


def test_a_thousand_jobs_over_three_restarts_end_exactly_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def submit() -> set[str]:
        store = desk.store()
        jobs = {(await desk.submit(store)).id for _ in range(JOBS)}
        await store.close()
        return jobs

    async def sweep() -> None:
        store = desk.store()
        await store.sweep()
        await store.close()

    jobs = asyncio.run(submit())
    database = sqlite3.connect(desk.database, isolation_level=None, timeout=60)
    database.executescript(_COUNTING)
    for number, how in ENDS:
        server = start(tmp_path)
        try:
            wait_for(database, number, server)
        finally:
            server.send_signal(how)
        assert server.wait(60) == (0 if how == signal.SIGTERM else -how)
        if how == signal.SIGTERM:  # what one that was killed had may still be leased
            leased = "SELECT count(*) FROM jobs WHERE state = 'running' AND runner LIKE ?"
            held = database.execute(leased, (f"%-{server.pid}-%",)).fetchone()[0]
            assert held == 0, "a server that ends leaves nothing leased"
    server = start(tmp_path)
    try:
        wait_for(database, JOBS, server)
    finally:
        server.terminate()
    assert server.wait(60) == 0
    assert dict(database.execute("SELECT job, what FROM seen WHERE what != 'piece'")) == dict.fromkeys(
        jobs, "succeeded"
    )
    assert count(database, "succeeded") == JOBS
    assert count(database, "piece") == JOBS  # none was heard again that was kept
    asyncio.run(sweep())  # the one that was killed may have been about to remove something
    assert Desk(tmp_path).recordings == []
    database.close()
