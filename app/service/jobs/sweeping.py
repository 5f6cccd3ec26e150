"""Cleans up after jobs, again and again: what has expired, and what deletions and crashes have left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from app.domain.errors import SpeechError

Sweep: TypeAlias = Callable[[], Awaitable[int]]
"""Deletes what is to go, and returns how many things those were."""

_SECONDS = 60.0
"""Between two rounds: what was deleted is to leave no trace for longer."""
_logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps one after the other, by what each of them deletes."""

    def __init__(self, sweeps: Mapping[str, Sweep], *, seconds: float = _SECONDS) -> None:
        """`seconds` lie between two rounds."""
        self._sweeps = dict(sweeps)
        self._seconds = seconds
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Sweep until cancelled. What keeps one from it is logged once, until it works again."""
        while True:
            for name, sweep in self._sweeps.items():
                await self._swept(name, sweep)
            await asyncio.sleep(self._seconds)

    async def _swept(self, name: str, sweep: Sweep) -> None:
        try:
            gone = await sweep()
        except Exception as error:  # this round ends here; the next one may go better
            if name not in self._failing:
                why = error.message if isinstance(error, SpeechError) else "unforeseen"
                _logger.warning("%s cannot be cleaned up: %s", name, why, exc_info=not isinstance(error, SpeechError))
            self._failing.add(name)
            return
        self._failing.discard(name)
        if gone:
            _logger.info("deleted %d expired %s", gone, name)
