"""Who reads what came of a long recording, and when: a day of words takes seconds to read and draw, and hundreds of
megabytes, so that a few do it at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from app.domain.errors import Overloaded
from app.service.jobs.job import Job

AT_ONCE: Final = 2
MOST_WAITING: Final = 8
"""Of one owner."""
SHORT_SECONDS: Final = 600.0
"""Of sound: so many words take a few megabytes and no time to speak of, and their readers no turns."""
_RETRY_SECONDS: Final = 5.0
"""The longest take about as long."""


class Turns:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def of(self, job: Job) -> AsyncGenerator[None]:
        """A turn to read what was recognised of a job, and to draw it, for as long as the block.

        Raises:
            Overloaded: too many of its owner's wait for one already.
        """
        if job.progress.done <= SHORT_SECONDS:
            yield
            return
        await self._wait(job.owner)
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self, owner: str) -> None:
        if self._places.locked() and self._waiting[owner] >= MOST_WAITING:
            told = f"{MOST_WAITING} of your requests wait for results of long recordings. Try again shortly."
            raise Overloaded(told, retry_after=_RETRY_SECONDS)
        self._waiting[owner] += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]
