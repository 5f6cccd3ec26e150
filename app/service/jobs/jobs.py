"""Jobs as protocols see them: handed over, looked at, called off; and this server's part in working on them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from contextvars import Context
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

from app.audio.fetching.fetcher import Fetcher
from app.domain.errors import JobNotDone, JobsUnavailable, StorageFull
from app.domain.meters import NO_METER, Meter
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.service.admission import Caller
from app.service.jobs.changes import Changes
from app.service.jobs.job import ENDED, Face, Idempotency, Job, JobRequest, Kept, State
from app.service.jobs.messages import Drawer
from app.service.jobs.recordings import Recordings
from app.service.jobs.runner import Recogniser, Runner
from app.service.jobs.store import JobStore, Submitted
from app.service.jobs.sweeping import Sweep, Sweeper
from app.service.jobs.telling import Teller
from app.service.jobs.turns import Turns
from app.service.jobs.unserved import Unserved, shown
from app.service.lifecycle import Lifecycle
from app.settings import Settings

_logger = logging.getLogger(__name__)

_HOUR = 3600.0
_LOOK_SECONDS = 1.0
"""Between two looks at a job that somebody watches: another server may be working on it."""
_OPEN_AGAIN_SECONDS = 5.0
"""Between two tries to open a database that cannot be used."""
_TICK_SECONDS: Final = 0.2
_FETCH_PATIENCE: Final = 12
"""How many times as long as for a request a job's recording may be on its way from an address: it is larger."""
_Jobs: TypeAlias = Sequence[Job]
_T = TypeVar("_T")


class Hearer(Recogniser, Protocol):
    """Who works on recordings, and says what is known of one so far; RecognisingService."""

    async def read_kept(self, made: Callable[[], _T]) -> _T:
        """What `made` makes of what is kept of a job, in a thread that stands back."""
        ...

    async def partial(self, kept: Kept, model: str, options: RecognitionOptions) -> Transcript:
        """What the leading pieces say that were recognised without a gap."""
        ...


class Jobs:
    """Jobs of this server's callers, each by the key that Caller names. Belongs to one event loop.

    All methods raise JobsUnavailable where the database cannot be used (StorageFull where its disk is full).
    """

    def __init__(
        self,
        hearer: Hearer,
        settings: Settings,
        meter: Meter = NO_METER,
        *,
        drawers: Mapping[Face, Drawer] | None = None,
        sweeps: Mapping[str, Sweep] | None = None,
        store: JobStore | None = None,
    ) -> None:
        """`drawers` draw notices, by the protocol that a job was asked in; others' wait for a server that has one.
        `sweeps` is what else is to be cleaned up regularly, by what it is. `store`: where it is not the settings'."""
        self._hearer = hearer
        self._meter = meter
        self._store = store or _store_of(settings)
        self._changes = Changes()
        self._turns = Turns()
        self._teller = Teller(
            self._store,
            drawers or {},
            networks=settings.webhook_networks,
            retry_seconds=settings.webhook_retry_hours * _HOUR,
            meter=meter,
        )
        self._fetcher = Fetcher(
            networks=settings.audio_address_networks,
            max_bytes=settings.max_job_audio_size,
            seconds=settings.audio_address_seconds * _FETCH_PATIENCE,
            idle_seconds=settings.upload_idle_seconds,
        )
        self._runner = Runner(
            self._store,
            hearer,
            Recordings(self._store, self._fetcher, settings.max_job_audio_size),
            places=settings.max_running_jobs,
            lease_seconds=settings.job_lease_seconds,
            meter=meter,
            changed=self._changes.tell,
            turned=self._teller.wake,
        )
        self._sweeper = Sweeper({"jobs": self._sweep, **(sweeps or {})})
        self._unserved = Unserved()
        self._lifecycle = Lifecycle()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------------------------------------

    def follow(self, lifecycle: Lifecycle) -> None:
        """Begin no more jobs, and let go of those at hand, once this server was told to end."""
        self._lifecycle = lifecycle

    def start(self) -> None:
        """Tell owners and clean up from here on. Returns at once: a database that cannot be used is tried again until
        it can."""
        for work in (self._open(), self._heed(), self._sweeper.run(), self._teller.run()):
            self._begin(work)

    def work(self) -> None:
        """Work on jobs, too."""
        self._begin(self._runner.run())

    async def close(self) -> None:
        """Put jobs at hand back, and end. Nothing may be asked afterwards."""
        await self._runner.close()
        await self._teller.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fetcher.close()
        await self._store.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        """Open the database now, so that what keeps it shut is in the log before somebody asks."""
        told = False
        while True:
            try:
                await self._store.open()
            except (JobsUnavailable, StorageFull) as error:
                if not told:
                    _logger.error("jobs cannot be worked on: %s", error.message)
                told = True
            except Exception:  # this try ends here; the next one may go better
                if not told:
                    _logger.exception("jobs cannot be worked on")
                told = True
            else:
                if told:
                    _logger.info("jobs can be worked on again")
                return
            await asyncio.sleep(_OPEN_AGAIN_SECONDS)

    async def _heed(self) -> None:
        # Looked at again and again, because what a signal's handler sets does not wake the loop.
        while not self._lifecycle.draining:  # noqa: ASYNC110
            await asyncio.sleep(_TICK_SECONDS)
        self._runner.drain()

    async def _sweep(self) -> int:
        self._unserved.look(await self._store.queued_by_model(), self._served())
        return await self._store.sweep()

    def _served(self) -> frozenset[str]:
        return frozenset(model.id for model in self._hearer.models())

    # --- for owners ---------------------------------------------------------------------------------------------------

    async def submit(
        self, caller: Caller, request: JobRequest, recording: Path | None, idempotency: Idempotency | None = None
    ) -> Submitted:
        """A new job, or the one that was submitted before under the same key; see JobStore.submit.

        Raises:
            TooManyJobs: the caller has as many as it may.
            IdempotencyConflict: the key was used for something else.
            StorageFull: the recording or the job does not fit.
        """
        submitted = await self._store.submit(caller.key, request, recording, idempotency)
        if not submitted.again:
            _logger.info("job submitted: %s", submitted.job.id, extra={"model": request.model, "path": caller.path})
            self._runner.wake()
            self._teller.wake()
        return submitted

    async def submitted(self, owner: str, idempotency: Idempotency) -> Job | None:
        """What was submitted before under the same key; None: nothing was.

        Raises:
            IdempotencyConflict: the key was used for something else.
        """
        return await self._store.submitted(owner, idempotency)

    async def get(self, owner: str | None, job_id: str) -> Job:
        """A job; of any owner where that is None.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        return shown(await self._store.get(owner, job_id), self._served())

    async def list(
        self, owner: str, *, states: Collection[State] = (), after: str | None = None, limit: int = 100
    ) -> _Jobs:
        """The owner's jobs, newest first, those older than the job `after`; of any state where none is named.

        Raises:
            UnknownJob: there is no job `after`.
        """
        served = self._served()
        found = await self._store.list(owner, states=states, after=after, limit=limit)
        return [shown(job, served) for job in found]

    async def cancel(self, owner: str, job_id: str) -> Job:
        """End it where it has not ended. Safe to say again.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        before = await self._store.get(owner, job_id)
        job = await self._store.cancel(owner, job_id)
        if before.state not in ENDED and job.state == "cancelled":
            self._called_off(before)
        return job

    async def delete(self, owner: str, job_id: str) -> None:
        """Remove it and all that is kept of it. One that has not ended is cancelled by this.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        before = await self._store.get(owner, job_id)
        await self._store.delete(owner, job_id)
        if before.state not in ENDED:
            self._called_off(before)
        self._changes.tell(job_id)

    async def aside(self, step: Callable[[], _T]) -> _T:
        """What `step` returns, which goes through a recording that is handed over: in one of few threads for that."""
        return await self._store.aside.run(step)

    def reading(self, job: Job) -> AbstractAsyncContextManager[None]:
        """A turn to ask for its `transcript` or `partial` and to draw it; all of that belongs in the block.

        Raises:
            Overloaded: too many of its owner's wait for one already.
        """
        return self._turns.of(job)

    async def transcript(self, owner: str, job_id: str) -> Transcript:
        """What came of it.

        Raises:
            UnknownJob: the owner has none of this id.
            JobNotDone: it has not ended, or not with a transcript.
        """
        job = await self._store.get(owner, job_id)
        if job.state != "succeeded":
            raise _without_transcript(job)
        found = await self._store.transcript(owner, job_id)
        if found is None:
            raise JobNotDone("The job has no transcript.")
        return found

    async def partial(self, owner: str, job_id: str) -> Transcript:
        """What its leading pieces say that were recognised so far; all of it where it has succeeded.

        Raises:
            UnknownJob: the owner has none of this id.
            JobNotDone: it failed or was cancelled.
            ModelUnavailable: its model is still loading.
        """
        known = await self._store.known(owner, job_id)
        if known.state in ENDED:
            return await self.transcript(owner, job_id)
        request, kept = await self._hearer.read_kept(known.decode)
        return await self._hearer.partial(kept, request.model, request.options)

    async def watch(self, owner: str, job_id: str) -> AsyncGenerator[Job, None]:
        """The job as it is, then each time something of it has changed, until it has ended; that is told, too.

        Raises:
            UnknownJob: the owner has none of this id; or not any more.
        """
        told: Job | None = None
        async with aclosing(self._changes.of(job_id, _LOOK_SECONDS)) as looks:
            async for _ in looks:
                job = await self.get(owner, job_id)
                if job != told:
                    told = job
                    yield job
                if job.state in ENDED:
                    return

    async def waiting(self) -> tuple[int, float]:
        """How many jobs are queued, and how many seconds the oldest has been; 0 where none is."""
        return await self._store.waiting()

    async def notices_waiting(self) -> int:
        """How many notices have not arrived, and are not given up."""
        return await self._store.notices_waiting()

    @property
    def running(self) -> int:
        """How many jobs this server works on."""
        return self._runner.running

    def _called_off(self, job: Job) -> None:
        self._meter.job("cancelled", 0.0, time.time() - job.created)
        self._runner.look_at(job.id)
        self._changes.tell(job.id)
        self._teller.wake()


def _store_of(settings: Settings) -> JobStore:
    return JobStore(
        settings.jobs_url,
        settings.jobs_folder,
        lease_seconds=settings.job_lease_seconds,
        retention_seconds=settings.job_retention_hours * _HOUR,
        max_jobs=settings.max_jobs,
    )


_WITHOUT: Final[Mapping[State, str]] = {
    "queued": "The job is queued: it has no result yet.",
    "running": "The job is running: it has no result yet.",
    "cancelled": "The job was cancelled: it has no result.",
}


def _without_transcript(job: Job) -> JobNotDone:
    if job.failure is not None:
        return JobNotDone(job.failure.message)
    return JobNotDone(_WITHOUT.get(job.state, "The job failed: it has no result."))
