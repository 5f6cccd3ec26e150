"""Jobs in their database: what is asked for, how far it is, what came of it, whom to tell. Nothing else writes there.

Several servers may share one database. Times are in epoch seconds, by the clock that the store is given. The servers'
clocks may differ by half of `lease_seconds`: more, and one may take a job from another that still works on it. Even
then nothing is mixed, and no job ends twice: what is written under a lease is only written while its token is current.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.domain.engines import Hypothesis
from app.domain.errors import JobsUnavailable, SpeechError, StorageFull
from app.domain.transcript import Transcript
from app.service.database import BUSY_SECONDS, Database, Holding, database_url
from app.service.jobs import ending, leasing, notices, reading, submitting
from app.service.jobs.aside import Aside
from app.service.jobs.belonging import OwnFolder
from app.service.jobs.codec import HYPOTHESES, PLANS, TRANSCRIPTS
from app.service.jobs.files import Recordings
from app.service.jobs.job import (
    Failure,
    Idempotency,
    Job,
    JobRequest,
    Kept,
    Lease,
    Notice,
    Plan,
    Progress,
    State,
)
from app.service.jobs.rows import one_job
from app.service.jobs.traces import Traces

_HOLDING = Holding("job", "jobs", "app.service.jobs:migrations", JobsUnavailable, StorageFull)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was asked for; `again`: it was there already, under the same idempotency key."""

    job: Job
    again: bool = False


class JobStore:
    """Jobs, each belonging to an `owner` (as KeyRing.owner names keys), to whom all others do not exist.

    Every method runs its transaction in the store's one thread, those of who works on jobs before others', and opens
    the database first where it is not open. Each raises JobsUnavailable where the database cannot be used (or
    StorageFull where its disk is full); the next call tries anew.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        lease_seconds: float = 20.0,
        retention_seconds: float = 7 * 86_400.0,
        max_jobs: int = 1000,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """`url` is SQLAlchemy's; `folder` is where recordings are kept, one file a job, which all servers see.

        A job that has ended is deleted `retention_seconds` later. An owner has at most `max_jobs` that have not ended.
        `busy_seconds` is how long a transaction waits for another program's.

        Raises:
            ConfigUnusable: the URL is none, or what speaks to such a database is not installed.
        """
        self.folder = folder
        self.aside = Aside()
        self._database = Database(database_url(url, "JOBS_DATABASE_URL"), _HOLDING, busy_seconds=busy_seconds)
        self._recordings = Recordings(folder)
        self._own = OwnFolder(folder, self._database)
        self._lease_seconds = lease_seconds
        self._retention = retention_seconds
        self._max_jobs = max_jobs
        self._clock = clock
        self._traces = Traces(self._database, self._recordings, clock)

    async def open(self) -> None:
        """Make or migrate the database now instead of at the first use."""
        await self._database.open()

    async def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        await self.aside.close()
        await self._database.close()

    # --- for owners ---------------------------------------------------------------------------------------------------

    async def submit(
        self, owner: str, request: JobRequest, recording: Path | None, idempotency: Idempotency | None = None
    ) -> Submitted:
        """A new job, with its first notice if it has a webhook. `recording` is moved into the store's folder (copied
        where it lies on another disk), durably, before the job exists; on an error it stays the caller's.

        Raises:
            TooManyJobs: the owner has as many as it may.
            IdempotencyConflict: the key was used for something else.
            StorageFull: the recording or the row does not fit.
        """
        submission = submitting.Submission(owner, request, idempotency, self._max_jobs)
        return await _finished(self._submit(submission, recording))

    async def submitted(self, owner: str, idempotency: Idempotency) -> Job | None:
        """What was submitted before under the same key; None: nothing was.

        Raises:
            IdempotencyConflict: the key was used for something else.
        """
        return await self._database.read(
            lambda session: submitting.under_key(session, owner, idempotency, self._clock())
        )

    async def get(self, owner: str | None, job_id: str) -> Job:
        """A job; of any owner where that is None. Here and wherever it is only looked at its request has no hotwords
        and masking, of which there may be thousands. `waits_for` says where what is kept of it cannot be read.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        return await self._database.read(lambda session: one_job(session, owner, job_id, self._clock()))

    async def list(
        self, owner: str, *, states: Collection[State] = (), after: str | None = None, limit: int = 100
    ) -> Sequence[Job]:
        """The owner's jobs, newest first, those after (that is, older than) the job `after`; of any state where none
        is named.

        Raises:
            UnknownJob: there is no job `after`.
        """
        return await self._database.read(
            lambda session: reading.listed(session, owner, states, after=after, limit=limit, now=self._clock())
        )

    async def cancel(self, owner: str, job_id: str) -> Job:
        """End it where it has not ended; who works on it learns that from `renew` or `keep`. Safe to say again.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        now = self._clock()
        job = await self._database.write(
            lambda session: ending.cancel(session, owner, job_id, now=now, kept_for=self._retention)
        )
        self._traces.left()
        await asyncio.to_thread(self._recordings.discard, job_id)
        return job

    async def delete(self, owner: str, job_id: str) -> None:
        """Remove it and all that is kept of it, its recording first; one that has not ended is cancelled by this.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        await self._database.write(lambda session: ending.mark_deleted(session, owner, job_id))
        self._traces.left()
        await self._own.check()
        await asyncio.to_thread(self._recordings.remove, job_id)
        await self._database.write(lambda session: ending.erase(session, [job_id]))

    async def transcript(self, owner: str, job_id: str) -> Transcript | None:
        """What came of it; None where it has not succeeded.

        Raises:
            UnknownJob: the owner has none of this id.
        """

        body = await self._database.read(lambda session: reading.transcript(session, owner, job_id))
        return None if body is None else await asyncio.to_thread(TRANSCRIPTS.decode, body)

    async def known(self, owner: str, job_id: str) -> reading.Known:
        """All that was asked, and what is kept of its work so far.

        Raises:
            UnknownJob: the owner has none of this id.
        """
        return await self._database.read(lambda session: reading.known(session, owner, job_id))

    async def kept(self, owner: str | None, job_id: str) -> Kept:
        """What is kept of its work so far.

        Raises:
            UnknownJob: the owner has none of this id.
            JobUnreadable: a newer version wrote it, or it is damaged.
        """

        bodies = await self._database.read(lambda session: reading.kept(session, owner, job_id))
        return await asyncio.to_thread(bodies.decode)

    # --- for runners --------------------------------------------------------------------------------------------------

    async def lease(self, runner: str, models: Collection[str]) -> Lease | None:
        """The next job that a server with these models can work on; None: there is none now.

        Those that were put back come when their time has. Owners take turns: whose fewest run is next, then by
        priority, then the oldest. A lease that was not renewed in time is over, and its job is leased anew. One that
        cannot be read waits, and those after it come.
        """
        now = self._clock()
        if not await self._database.read(lambda session: leasing.is_anything_leasable(session, models, now)):
            return None
        return await self._database.write(
            lambda session: leasing.lease_next(session, runner, models, now=self._clock(), seconds=self._lease_seconds)
        )

    async def renew(self, lease: Lease, progress: Progress, waits_for: str = "") -> Lease | None:
        """The lease, longer; None: it is over (the job was cancelled, deleted, or leased by somebody else). `waits_for`
        is what the work on it waits for."""

        def write(session: Session) -> float | None:
            now = self._clock()
            renewed = leasing.renew(session, lease, progress, waits_for=waits_for, now=now, seconds=self._lease_seconds)
            return now + self._lease_seconds if renewed else None

        until = await self._database.write(write, first=True)
        return None if until is None else replace(lease, until=until)

    async def keep_plan(self, lease: Lease, channel: int, plan: Plan) -> bool:
        """Keep what is to be recognised of a channel; False: the lease is over, and nothing was kept."""
        body = PLANS.encode(plan)
        return await self._database.write(
            lambda session: leasing.keep_plan(session, lease, channel, body, now=self._clock()), first=True
        )

    async def keep(self, lease: Lease, channel: int, number: int, hypothesis: Hypothesis, progress: Progress) -> bool:
        """Keep what was heard in a piece (in place of what was kept of it before), and how far the job is, in one
        transaction; False: the lease is over, and nothing was kept."""
        heard = HYPOTHESES.encode(hypothesis)
        return await self._database.write(
            lambda session: leasing.keep_piece(
                session, lease, (channel, number), heard, progress=progress, now=self._clock()
            ),
            first=True,
        )

    async def check_folder(self) -> None:
        """Make sure that the folder of recordings is there and this database's; one that nobody has is made so.

        Raises:
            JobsUnavailable: it is not: its disk is not mounted, say.
        """
        await self._own.check()

    async def recording(self, job_id: str) -> Path:
        """Where its recording lies, or, of one that is fetched from an address, is to lie. Raises as `check_folder`."""
        await self._own.check()
        return await asyncio.to_thread(self._recordings.path, job_id)

    async def succeed(self, lease: Lease, transcript: Transcript) -> bool:
        """End it with its transcript, and notice that; its recording and pieces go. False: the lease is over."""
        body = await asyncio.to_thread(TRANSCRIPTS.encode, transcript)
        return await self._end(
            lease,
            lambda session: ending.succeed(
                session, lease, body, seconds=transcript.duration, now=self._clock(), kept_for=self._retention
            ),
        )

    async def fail(self, lease: Lease, failure: Failure) -> bool:
        """End it with why, and notice that; its recording goes. False: the lease is over."""
        return await self._end(
            lease, lambda session: ending.fail(session, lease, failure, now=self._clock(), kept_for=self._retention)
        )

    async def put_back(self, lease: Lease, seconds: float, waits_for: str, *, fruitless: bool = False) -> bool:
        """Let it wait so long before it is leased again, with all that is kept; False: the lease is over.

        `fruitless`: Lease.fruitless counts this lease, as it does those whose servers died; it does not count others.
        """
        return await self._database.write(
            lambda session: leasing.put_back(
                session, lease, seconds, waits_for, fruitless=fruitless, now=self._clock()
            ),
            first=True,
        )

    async def waiting(self) -> tuple[int, float]:
        """How many jobs are queued, and how many seconds the oldest has been; 0 where none is."""
        return await self._database.read(lambda session: reading.waiting(session, self._clock()))

    async def queued_by_model(self) -> Mapping[str, int]:
        """How many jobs are queued for each model for which any is."""
        return await self._database.read(reading.queued_by_model)

    async def notices_waiting(self) -> int:
        """How many notices have neither arrived nor been given up."""
        return await self._database.read(reading.notices_waiting)

    # --- for who tells owners -----------------------------------------------------------------------------------------

    async def due(self, sender: str, seconds: float, passing_over: Collection[str] = ()) -> Notice | None:
        """The next notice that is to be sent now, which is `sender`'s for so many seconds; None: there is none. Of one
        job's, the next is due only when the one before was sent or given up. Owners `passing_over` are not asked."""
        now = self._clock()
        if not await self._database.read(lambda session: notices.is_any_due(session, now, passing_over)):
            return None
        return await self._database.write(
            lambda session: notices.take_due(session, sender, self._clock(), seconds, passing_over)
        )

    async def sent(self, notice: Notice) -> None:
        """It has arrived."""
        await self._database.write(lambda session: notices.settle(session, notice.id, self._clock()))

    async def postpone(self, notice: Notice, seconds: float | None) -> None:
        """It has not: it is due again in so many seconds, or, where that is None, given up."""
        if seconds is None:
            await self.sent(notice)
            return
        due = self._clock() + seconds
        await self._database.write(lambda session: notices.postpone(session, notice.id, due))

    # --- for whoever cleans up ----------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Delete what has expired, files that belong to no job, and every trace of what was deleted; returns how many
        jobs were. In a folder that is not this database's, nothing is deleted."""
        await self._own.check()
        return await self._traces.sweep()

    async def _submit(self, submission: submitting.Submission, recording: Path | None) -> Submitted:
        now = self._clock()
        if (job := await self._database.read(lambda session: submitting.earlier(session, submission, now))) is not None:
            return Submitted(job, again=True)
        job_id = f"job_{secrets.token_hex(12)}"
        if recording is not None:
            await self._own.check()
            await self.aside.run(partial(self._recordings.take, recording, job_id))
        try:
            submitted = await self._database.write(lambda session: self._inserted(session, job_id, submission))
        except SpeechError as error:
            if recording is not None and not _may_be_committed(error):
                await asyncio.to_thread(self._recordings.discard, job_id)
            raise
        if recording is not None:
            over = (
                partial(self._recordings.discard, job_id)
                if submitted.again
                else partial(self._recordings.release, recording)
            )
            await asyncio.to_thread(over)
        return submitted

    def _inserted(self, session: Session, job_id: str, submission: submitting.Submission) -> Submitted:
        now = self._clock()
        if (job := submitting.earlier(session, submission, now)) is not None:
            return Submitted(job, again=True)
        return Submitted(submitting.insert_job(session, job_id, submission, now))

    async def _end(self, lease: Lease, work: Callable[[Session], bool]) -> bool:
        ended = await self._database.write(work, first=True)
        if ended:
            self._traces.left()
            await asyncio.to_thread(self._recordings.discard, lease.job.id)
        return ended


def _may_be_committed(error: SpeechError) -> bool:
    """Whether a transaction that failed may have been committed nevertheless: the connection was lost on the way."""
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated


async def _finished(work: Coroutine[None, None, _T]) -> _T:
    """What it returns. Who is cancelled meanwhile waits for its end: it is using the caller's file."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
