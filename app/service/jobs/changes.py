"""Who wants to hear that a job has changed, of those in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

_LEAST_SECONDS = 0.1
"""Between two looks: of short pieces there are dozens a second."""


class Changes:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def tell(self, job_id: str) -> None:
        """A job has changed."""
        for event in self._waiting.get(job_id, ()):
            event.set()

    async def of(self, job_id: str, seconds: float) -> AsyncGenerator[None, None]:
        """Whenever it is worth looking at a job: at once, when it has changed, and at the latest after so long."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(event)
        try:
            while True:
                yield
                await asyncio.sleep(_LEAST_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await event.wait()
                event.clear()
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(job_id, None)
