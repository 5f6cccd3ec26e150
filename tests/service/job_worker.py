"""A process that works on jobs until there is a file `stop`: started, and killed, by test_job_store_processes.py.

It appends a line to `log` for each job that it ended, after the store has said that it did.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from service.job_stores import MODEL, a_transcript, heard, recognising

from app.domain.errors import JobsUnavailable
from app.service.jobs.store import JobStore

LEASE_SECONDS = 3.0


async def work(store: JobStore, name: str, log: int) -> bool:
    """Whether there was a job."""
    lease = await store.lease(name, [MODEL])
    if lease is None:
        return False
    os.write(log, f"began {lease.job.id} {name}\n".encode())
    if await store.keep(lease, 0, 0, heard(name), recognising(40)) and await store.succeed(lease, a_transcript(name)):
        os.write(log, f"ended {lease.job.id} {name}\n".encode())
    return True


async def main(url: str, folder: Path, name: str) -> None:
    store = JobStore(url, folder / "jobs", lease_seconds=LEASE_SECONDS, busy_seconds=10.0)
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while not (folder / "stop").exists():
        try:
            if not await work(store, name, log):
                await asyncio.sleep(0.05)
        except JobsUnavailable:
            await asyncio.sleep(0.05)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
