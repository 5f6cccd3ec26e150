"""How much of the machine jobs may use at once, by who else is about."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.pipeline.presence import Presence
from app.pipeline.turns import JOB_SHARE

LOOK_SECONDS = 0.25
"""So often is looked whether jobs that made way for somebody may go on."""


class Yielding:
    """What is left to jobs of calls that may run at once.

    Cores are mostly halves of one: a request is slower for every call of a job beside it, even if it has a core to
    itself. So while somebody waits for an answer jobs have fewer calls than half. Where that would be none, they have
    one now and then, a tenth of the time (JOB_SHARE).
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._rested = -math.inf

    def calls(self, most: int) -> int:
        """Of `most` calls at once: all while nobody is about, all but one while somebody is (but never none)."""
        if not self._presence.about:
            return most
        if not self._presence.asked:
            return max(1, most - 1)
        return (most - 1) // 2 or int(self._presence.clock() >= self._rested)

    def ended(self, seconds: float) -> None:
        """A job's call ends that took so long."""
        self._rested = self._presence.clock() + (JOB_SHARE - 1) * seconds


class YieldingPlaces:
    """Places for at most so many of a job's calls, some of which stay empty while somebody else is about."""

    def __init__(self, presence: Presence, most: int) -> None:
        self._yielding = Yielding(presence)
        self._most = most
        self._taken = 0

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Wait for one and have it. No more than so many may wait at a time: each looks for itself."""
        while self._taken >= self._yielding.calls(self._most):  # noqa: ASYNC110 - time passes: nobody tells of it
            await asyncio.sleep(LOOK_SECONDS)
        self._taken += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self._taken -= 1
            self._yielding.ended(time.monotonic() - began)
