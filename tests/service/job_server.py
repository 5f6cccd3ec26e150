"""A server of nothing but jobs, in a process of its own, that can be killed: `python -m service.job_server FOLDER`.

What it hears costs nothing, so that a thousand jobs take as long as keeping them does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from service.job_work import Desk, Work

PLACES = 4
LEASE_SECONDS = 8.0
"""What was at hand when it is killed waits so long; a busy machine takes a second to renew."""


async def serve(folder: Path) -> None:
    """Work on jobs until SIGTERM."""
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    desk = Desk(folder, lease=LEASE_SECONDS, busy=LEASE_SECONDS)
    store = desk.store()
    async with desk.running(store, Work(pieces=1), places=PLACES):
        await told_to_end.wait()
    await store.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
