"""What is left of jobs that are gone, and how it is removed: rows, files, and copies of rows that SQLite has made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.orm import Session

from app.domain.errors import SpeechError
from app.service.database import Database
from app.service.jobs import ending
from app.service.jobs.files import ORPHAN_SECONDS, Recordings
from app.service.jobs.job import ENDED

_SWEPT_BYTES: Final = 1 << 26
"""Of a database that is written afresh at any time: it takes a second, in which nobody renews a lease."""


class Traces:
    """Of the jobs in a database, with recordings in a folder."""

    def __init__(self, database: Database, recordings: Recordings, clock: Callable[[], float]) -> None:
        self._database = database
        self._recordings = recordings
        self._clock = clock
        self._any = True  # of what was deleted, maybe before this server was started

    def left(self) -> None:
        """Something was deleted."""
        self._any = True

    async def sweep(self) -> int:
        """Delete what has expired, files that belong to no job, and every trace of what was deleted; returns how many
        jobs were."""
        marked = await self._database.write(self._marked)
        removed = [job_id for job_id in marked if await asyncio.to_thread(self._is_removed, job_id)]
        if removed:
            self._any = True
        erased = await self._database.write(lambda session: ending.erase(session, removed)) if removed else 0
        await self._sweep_files()
        if self._any:
            await self._sweep_database()
        return erased

    async def _sweep_database(self) -> None:
        self._any = False  # before it begins: what is deleted meanwhile is for the next one
        swept = False
        try:
            swept = await self._database.sweep(
                _SWEPT_BYTES, lambda session: ending.is_any_running(session, self._clock())
            )
        finally:
            self._any = self._any or not swept

    def _marked(self, session: Session) -> Sequence[str]:
        ending.mark_expired(session, self._clock())
        return ending.marked(session)

    def _is_removed(self, job_id: str) -> bool:
        """Whether its recording is gone; where it cannot be removed, the next sweep tries again."""
        try:
            self._recordings.remove(job_id)
        except SpeechError:
            return False
        return True

    async def _sweep_files(self) -> None:
        """Remove what a killed server left: recordings of jobs that have ended, old ones of none, other names."""
        found = await asyncio.to_thread(self._recordings.found)
        states = await self._database.read(lambda session: ending.states(session, found.keys()))
        await asyncio.to_thread(self._recordings.keep_only_here, states.keys())
        old = self._clock() - ORPHAN_SECONDS
        for job_id, put_there in found.items():
            if states[job_id] in ENDED if job_id in states else put_there < old:
                await asyncio.to_thread(self._recordings.discard, job_id)
