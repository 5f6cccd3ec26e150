"""This server's part in working on jobs: it leases as many as it may, and sees each of them through."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from app.domain.errors import SpeechError
from app.domain.meters import NO_METER, Meter
from app.service.jobs.attempt import Attempt, Having, Recognising
from app.service.jobs.job import Lease
from app.service.jobs.store import JobStore
from app.service.residents import ServedModel

_LOOK_SECONDS = 1.0
"""Between two looks for a job: other servers are handed some, and some wait until their time has come."""
_TROUBLE_SECONDS = 2.0
"""The same where the database cannot be used."""
_CLOSE_SECONDS = 2.0
"""What putting jobs back may take at the end: without it, they wait until their leases are over."""
_logger = logging.getLogger(__name__)


class Recogniser(Recognising, Protocol):
    """Who works on recordings, and with which models; SpeechService."""

    def models(self) -> Sequence[ServedModel]:
        """Models that answer now."""
        ...


class Runner:
    """Works on jobs. Belongs to one event loop."""

    def __init__(
        self,
        store: JobStore,
        recogniser: Recogniser,
        recordings: Having,
        *,
        places: int = 1,
        lease_seconds: float = 20.0,
        meter: Meter = NO_METER,
        changed: Callable[[str], None] = lambda _: None,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """At most `places` jobs at once, each leased for `lease_seconds` (as the store does). `changed` is told the id
        of a job of which something has changed here; `turned` is called when one has come to another state."""
        self._store = store
        self._recogniser = recogniser
        self._recordings = recordings
        self._places = places
        self._lease_seconds = lease_seconds
        self._meter = meter
        self._changed = changed
        self._turned = turned
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._attempts: dict[Attempt, None] = {}
        self._waking = asyncio.Event()
        self._busy = 0
        self._draining = False
        self._troubled = False

    @property
    def running(self) -> int:
        """How many jobs are worked on here."""
        return len(self._attempts)

    async def run(self) -> None:
        """Work on jobs until told to drain."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._places):
                group.create_task(self._work_on_all())

    def wake(self) -> None:
        """There may be something to do."""
        self._waking.set()

    def look_at(self, job_id: str) -> None:
        """A job was cancelled or deleted: whoever works on it here is to notice now."""
        for attempt in self._attempts:
            if attempt.job_id == job_id:
                attempt.look()

    def drain(self) -> None:
        """Begin no more jobs, and put those at hand back."""
        self._draining = True
        self._waking.set()
        for attempt in self._attempts:
            attempt.stop("draining")

    async def close(self) -> None:
        """Drain, and wait a little until that is done. Who called `run` is to cancel what is left then."""
        self.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._busy:  # noqa: ASYNC110 - for two seconds at most, once
                    await asyncio.sleep(0.01)

    async def _work_on_all(self) -> None:
        while not self._draining:
            self._busy += 1  # from here on there may be a lease to give back
            try:
                idle = not await self._worked_on_one()
            finally:
                self._busy -= 1
            if idle and not self._draining:
                await self._wait()

    async def _worked_on_one(self) -> bool:
        """Whether there was one."""
        asked = asyncio.get_running_loop().time()
        lease = await self._leased()
        if lease is None:
            return False
        await self._work_on(lease, asked)
        return True

    async def _leased(self) -> Lease | None:
        models = [model.id for model in self._recogniser.models()]
        lease = None
        try:
            if models:
                await self._recordings.check()  # before any job is taken from those that have its recording
                lease = await self._store.lease(self._name, models)
        except Exception as error:  # this look ends here; the next one may go better
            if not self._troubled:
                why = error.message if isinstance(error, SpeechError) else "unforeseen"
                unforeseen = not isinstance(error, SpeechError)
                _logger.error("no job can be taken up: %s", why, exc_info=unforeseen)
            self._troubled = True
            return None
        if self._troubled:
            _logger.info("jobs can be taken up again")
        self._troubled = False
        return lease

    async def _work_on(self, lease: Lease, asked: float) -> None:
        attempt = Attempt(
            self._store,
            self._recogniser,
            self._recordings,
            lease,
            asked=asked,
            lease_seconds=self._lease_seconds,
            meter=self._meter,
            changed=self._changed,
            answers=self._answers,
        )
        self._attempts[attempt] = None
        self._turned()
        if self._draining:
            attempt.stop("draining")
        try:
            await attempt.run()
        except Exception:  # this attempt ends here; its lease runs out
            _logger.exception("the work on a job was left")
        finally:
            self._attempts.pop(attempt, None)
            self._turned()

    def _answers(self, name: str) -> bool:
        return any(model.id == name for model in self._recogniser.models())

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TROUBLE_SECONDS if self._troubled else _LOOK_SECONDS):
                await self._waking.wait()
        self._waking.clear()
