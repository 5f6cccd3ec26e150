"""One attempt at one job: from its lease to what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from app.audio.declared import DeclaredSound
from app.domain.errors import JobsUnavailable, JobUnreadable, SpeechError, StorageFull
from app.domain.meters import Meter
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.service import logs
from app.service.jobs.job import Failure, Job, Kept, Lease, Progress
from app.service.jobs.keeping import TRY_AGAIN_SECONDS, Keeping, LeaseError
from app.service.jobs.store import JobStore
from app.service.jobs.verdicts import MOST_LEASES, PutBack, abandoned, verdict
from app.service.remembering import Memory, Watch

Stop: TypeAlias = Literal["lost", "late", "draining"]
"""Why work is stopped: the job is not ours any more, the lease could not be renewed in time, or the server ends, or its
model is to go."""
_RENEWALS: Final = 3
"""In the time of a lease."""
_LEAST_LEFT: Final = 0.15
"""Of a lease's time, when work under it stops that could not be renewed: there is time to put the job back."""
_logger = logging.getLogger(__name__)


class Recognising(Protocol):
    """Who works on recordings; RecognisingService."""

    async def work_on(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        *,
        owner: str,
        declared: DeclaredSound | None,
        memory: Memory,
        watch: Watch,
        name: str = "-",
    ) -> Transcript:
        """A recording's transcript, with what `memory` has of it. `name` is what it is called among what runs."""
        ...


class Having(Protocol):
    """Who has a job's recording, or fetches it."""

    async def check(self) -> None:
        """Make sure that recordings can be had here. Raises what jobs may wait for."""
        ...

    async def have(self, job: Job) -> Path:
        """Where it lies."""
        ...


class Attempt:
    """Belongs to one event loop."""

    def __init__(
        self,
        store: JobStore,
        recognising: Recognising,
        recordings: Having,
        lease: Lease,
        *,
        asked: float,
        lease_seconds: float,
        meter: Meter,
        changed: Callable[[str], None],
        answers: Callable[[str], bool],
    ) -> None:
        """`lease` was `asked` for then, by the loop's clock, and is for `lease_seconds`. `changed` is told the job's id
        when something of it has. `answers` says whether a model still does: the job is put back where it does not, so
        that nobody waits for hours until it can be freed."""
        self._store = store
        self._recognising = recognising
        self._recordings = recordings
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._meter = meter
        self._changed = changed
        self._answers = answers
        self._keeping: Keeping | None = None
        self._stopped: Stop | None = None
        self._looking = asyncio.Event()
        self._writing = asyncio.Lock()
        self._over = False
        self._trouble = ""
        self._unwritten = ""
        self._fruitless = lease.fruitless
        self._work: asyncio.Task[Transcript] | None = None
        self._end = asked + lease_seconds

    @property
    def job_id(self) -> str:
        """The job's."""
        return self._lease.job.id

    def stop(self, why: Stop) -> None:
        """End the work at once."""
        self._stopped = self._stopped or why
        if self._work is not None:
            self._work.cancel()

    def look(self) -> None:
        """Renew the lease now: the job may be nobody's any more, or there is progress to write."""
        self._looking.set()

    async def run(self) -> None:
        """Work on it. Returns when the job has ended, waits, or is not ours any more."""
        with logs.named(self.job_id):
            self._changed(self.job_id)
            work = self._work = asyncio.create_task(self._worked())
            renewing = asyncio.create_task(self._renew())
            if self._stopped is not None:  # before there was anything to stop
                work.cancel()
            try:
                await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
                if renewing.done() and (crash := renewing.exception()) is not None:
                    _logger.error("a job's lease cannot be renewed", exc_info=crash)
                    self.stop("late")
                await asyncio.wait({work})
                await self._settle(work)
            finally:
                work.cancel()
                renewing.cancel()
                await asyncio.gather(work, renewing, return_exceptions=True)
                self._changed(self.job_id)

    async def _worked(self) -> Transcript:
        job = self._lease.job
        if self._fruitless > MOST_LEASES:
            raise abandoned()
        kept = await self._persistently(lambda: self._store.kept(None, job.id))
        changed = partial(self._changed, job.id)
        keeping = Keeping(self._store, lambda: self._lease, kept, moved=self.look, changed=changed)
        self._keeping = keeping
        if job.attempts > 1:
            self._meter.resumed(keeping.pieces)
            _logger.info("job gone on with, %d pieces of it are kept", keeping.pieces)
        if job.request.address is not None:
            keeping.at("fetch")
        path = await self._recordings.have(job)
        return await self._recognising.work_on(
            path,
            job.request.model,
            job.request.options,
            owner=job.owner,
            declared=job.request.declared,
            memory=keeping,
            watch=keeping,
            name=job.id,
        )

    # --- the lease ----------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Keep the lease until it is over, and stop the work where that cannot be done."""
        loop = asyncio.get_running_loop()
        pause = self._lease_seconds / _RENEWALS
        while True:
            late = loop.call_at(self._end - self._lease_seconds * _LEAST_LEFT, self.stop, "late")
            try:
                await self._look_out(pause)
                async with self._writing:
                    if self._over:
                        return
                    asked = loop.time()
                    renewed = await self._store.renew(self._lease, self._progress, self._waits_for)
            except (JobsUnavailable, StorageFull) as error:
                self._trouble, pause = error.message, TRY_AGAIN_SECONDS
                continue
            finally:
                late.cancel()
            if renewed is None:
                self.stop("lost")
                return
            self._lease, self._end = renewed, asked + self._lease_seconds
            self._trouble, pause = "", self._lease_seconds / _RENEWALS
            self._changed(self.job_id)
            if not self._answers(self._lease.job.request.model):
                self.stop("draining")

    async def _look_out(self, seconds: float) -> None:
        """Wait so long, or until it is to be renewed now."""
        try:
            async with asyncio.timeout(seconds):
                await self._looking.wait()
        except TimeoutError:
            return
        self._looking.clear()

    @property
    def _progress(self) -> Progress:
        return self._keeping.progress if self._keeping is not None else self._lease.job.progress

    @property
    def _waits_for(self) -> str:
        return self._unwritten or (self._keeping.trouble if self._keeping is not None else "")

    # --- what becomes of it -------------------------------------------------------------------------------------------

    async def _settle(self, work: asyncio.Task[Transcript]) -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if error is None:
            await self._succeed(work.result())
        elif self._stopped == "lost" or isinstance(error, LeaseError):
            _logger.info("job let go: it was cancelled, deleted, or taken up elsewhere")
        elif self._stopped == "late":
            _logger.warning("job let go: its lease was not renewed in time: %s", self._trouble or "it took too long")
            await self._put_back(PutBack(0.0, self._trouble))
        elif isinstance(error, Exception) and self._stopped is None:
            await self._judge(error)
        else:
            await self._put_back(PutBack(0.0, ""))

    async def _judge(self, error: Exception) -> None:
        if not isinstance(error, SpeechError):
            _logger.error("the work on a job failed", exc_info=error)
        gained = self._keeping is not None and self._keeping.gained
        judged = verdict(error, 0 if gained else self._fruitless)
        if isinstance(judged, Failure):
            await self._conclude(judged)
        else:
            code = error.code if isinstance(error, SpeechError) else SpeechError.code
            _logger.warning("job put back for %.0f s", judged.seconds, extra={"outcome": code})
            await self._put_back(judged)

    async def _succeed(self, transcript: Transcript) -> None:
        if await self._written(lambda: self._store.succeed(self._lease, transcript)):
            self._ended("ok", self._progress.duration or 0.0)

    async def _conclude(self, failure: Failure) -> None:
        if await self._written(lambda: self._store.fail(self._lease, failure)):
            self._ended(failure.code, 0.0)

    async def _put_back(self, back: PutBack) -> None:
        await self._written(
            lambda: self._store.put_back(self._lease, back.seconds, back.waits_for, fruitless=back.fruitless)
        )

    def _ended(self, outcome: str, audio: float) -> None:
        job = self._lease.job
        took = max(time.time() - job.created, 0.0)
        self._meter.job(outcome, audio, took)
        fields: dict[str, object] = {
            "path": "/v1/jobs",
            "model": job.request.model,
            "outcome": outcome,
            "audio_duration_sec": round(audio, 3),
            "duration_ms": round(took * 1000),
            "key": logs.short(job.owner),
        }
        _logger.info("job done", extra=fields)

    async def _written(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """Whether it was written: tried until it is, or the lease is over."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._writing:  # and not renewed meanwhile: that it is over then would be no news
                    done = await write()
                    self._over = True
            except (JobsUnavailable, StorageFull) as error:
                self._trouble = error.message
                if self._unwritten != error.message:
                    self._unwritten = error.message
                    self.look()
                if loop.time() > self._end:
                    _logger.warning("what became of a job could not be written, it will be taken up again")
                    return False
                await asyncio.sleep(TRY_AGAIN_SECONDS)
            else:
                return done

    async def _persistently(self, read: Callable[[], Awaitable[Kept]]) -> Kept:
        """What is read, once it can be. Who renews the lease ends this.

        Raises:
            JobUnreadable: it never can be, here.
        """
        while True:
            try:
                return await read()
            except JobUnreadable:
                raise
            except JobsUnavailable as error:
                self._trouble = error.message
                await asyncio.sleep(TRY_AGAIN_SECONDS)
