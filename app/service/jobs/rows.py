"""Jobs as their rows say: what every part of the store reads them with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from app.domain.errors import JobUnreadable, UnknownJob
from app.service.jobs.codec import FAILURES, REQUESTS, readable, with_terms, with_voiceprints
from app.service.jobs.job import Failure, Job, JobRequest, Progress, State, Step
from app.service.jobs.progress import Pace, seconds_left
from app.service.jobs.tables import JobRow, RequestRow, TermsRow, VoicesRow


@dataclass(frozen=True, slots=True)
class AskedBodies:
    """All that was asked, still as bytes: thousands of terms take a while to read."""

    request: bytes
    terms: bytes | None
    voiceprints: bytes | None = None

    def decode(self) -> JobRequest:
        """What they say.

        Raises:
            JobUnreadable: a newer version wrote them, or they are damaged.
        """
        request = REQUESTS.decode(self.request)
        if self.terms is not None:
            request = with_terms(request, self.terms)
        return request if self.voiceprints is None else with_voiceprints(request, self.voiceprints)


def jobs() -> Select[JobRow, bytes]:
    """All jobs that are not deleted, each with what was asked."""
    return select(JobRow, RequestRow.body).join(RequestRow, RequestRow.job == JobRow.id).where(~JobRow.removing)


def asked(session: Session, job_id: str, *, voiceprints: bool = False) -> AskedBodies:
    """All that was asked of a job that there is; with voiceprints for nobody but who works on it."""
    return AskedBodies(
        session.scalars(select(RequestRow.body).where(RequestRow.job == job_id)).one(),
        session.scalar(select(TermsRow.body).where(TermsRow.job == job_id)),
        session.scalar(select(VoicesRow.body).where(VoicesRow.job == job_id)) if voiceprints else None,
    )


def job_of(row: JobRow, request: bytes, now: float) -> Job:
    """A job as it is at `now`, without its terms.

    Raises:
        JobUnreadable: a newer version wrote it, or it is damaged.
    """
    failure = None if row.failure is None else FAILURES.decode(row.failure)
    return _job(row, REQUESTS.decode(request), failure, now)


def seen(row: JobRow, request: bytes, now: float) -> Job:
    """The same; one that cannot be read is told as far as it can, and says so: others are not to suffer from it."""
    try:
        return job_of(row, request, now)
    except JobUnreadable as error:
        failure = None if row.failure is None else Failure(type(error).__name__, error.code, error.message)
        return replace(_job(row, readable(request, row.model), failure, now), waits_for=error.message)


def _job(row: JobRow, request: JobRequest, failure: Failure | None, now: float) -> Job:
    return Job(
        row.id,
        row.owner,
        request,
        cast(State, row.state),
        row.created,
        row.started,
        row.ended,
        row.expires,
        row.attempts,
        _progress(row, now),
        failure,
        row.waits_for,
    )


def one_job(session: Session, owner: str | None, job_id: str, now: float) -> Job:
    """A job of the owner's, or of anybody's where that is None.

    Raises:
        UnknownJob: there is none of this id.
    """
    found = session.execute(jobs().where(JobRow.id == job_id, *_of(owner))).first()
    if found is None:
        raise UnknownJob("There is no job with this id.")
    return seen(found[0], found[1], now)


def check_known(session: Session, owner: str | None, job_id: str) -> None:
    """Let a job pass that there is. Raises as `one_job`."""
    if session.scalar(select(JobRow.id).where(JobRow.id == job_id, ~JobRow.removing, *_of(owner))) is None:
        raise UnknownJob("There is no job with this id.")


def running(now: float) -> ColumnElement[bool]:
    """It is leased, and the lease is not over."""
    return and_(JobRow.state == "running", JobRow.lease_until > now)


def leasable(now: float) -> ColumnElement[bool]:
    """It waits and its time has come, or the lease that it had is over."""
    waits = and_(JobRow.state == "queued", JobRow.due <= now)
    lapsed = and_(JobRow.state == "running", JobRow.lease_until <= now)
    return and_(~JobRow.removing, or_(waits, lapsed))


def _of(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [JobRow.owner == owner]


def _progress(row: JobRow, now: float) -> Progress:
    step = cast("Step | None", row.step)
    progress = Progress(step, row.duration, row.done, row.pieces, row.pieces_done, row.share)
    if row.state != "running":
        return progress
    left = seconds_left(progress, Pace(row.rate_since, row.rate_done, row.reported), now)
    return Progress(step, row.duration, row.done, row.pieces, row.pieces_done, row.share, left)
