"""How a job ends and is forgotten: each function inside a transaction that writes.

Whatever ends it, what was kept for its work goes with that: plans, pieces, voiceprints. Its recording is removed right
after the transaction, so that it is there as long as the job may be worked on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import and_, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from app.domain.errors import UnknownJob
from app.service.jobs.codec import FAILURES
from app.service.jobs.job import ENDED, Failure, Job, Lease, State
from app.service.jobs.leasing import FREE, held, updated
from app.service.jobs.notices import notice
from app.service.jobs.rows import one_job, running
from app.service.jobs.tables import JobRow, NoticeRow, PieceRow, PlanRow, TranscriptRow, VoicesRow

_LONGEST_UNTOLD: Final = 366 * 86_400.0
"""WEBHOOK_RETRY_HOURS is no longer."""


def succeed(session: Session, lease: Lease, transcript: bytes, *, seconds: float, now: float, kept_for: float) -> bool:
    """End it with the transcript of a recording that lasts so long; False: the lease is over."""
    job_id = lease.job.id
    duration = func.coalesce(JobRow.duration, seconds)
    whole = {"duration": duration, "done": duration, "pieces_done": JobRow.pieces, "share": 1.0}
    if not updated(session, held(lease, now), {**_end("succeeded", now, kept_for), **whole}):
        return False
    session.execute(insert(TranscriptRow).values(job=job_id, body=transcript))
    _forget_work(session, job_id)
    notice(session, job_id, "succeeded", now)
    return True


def fail(session: Session, lease: Lease, failure: Failure, *, now: float, kept_for: float) -> bool:
    """End it with why; False: the lease is over."""
    values = {**_end("failed", now, kept_for), "failure": FAILURES.encode(failure)}
    if not updated(session, held(lease, now), values):
        return False
    _forget_work(session, lease.job.id)
    notice(session, lease.job.id, "failed", now)
    return True


def cancel(session: Session, owner: str, job_id: str, *, now: float, kept_for: float) -> Job:
    """End it where it has not ended.

    Raises:
        UnknownJob: the owner has none of this id.
    """
    going_on = and_(JobRow.id == job_id, JobRow.owner == owner, ~JobRow.removing, JobRow.state.not_in(ENDED))
    if updated(session, going_on, _end("cancelled", now, kept_for)):
        _forget_work(session, job_id)
        notice(session, job_id, "cancelled", now)
    return one_job(session, owner, job_id, now)


def mark_deleted(session: Session, owner: str, job_id: str) -> None:
    """From here on nobody sees it, and nobody works on it; one that is marked already may be marked again.

    Raises:
        UnknownJob: the owner has none of this id.
    """
    values = {"removing": True, "idempotency_key": None, **FREE}
    if not updated(session, and_(JobRow.id == job_id, JobRow.owner == owner), values):
        raise UnknownJob("There is no job with this id.")
    _forget_work(session, job_id)


def mark_expired(session: Session, now: float) -> None:
    """The same of all whose time is over, but for those of which somebody is to be told still: that ends when it was
    told or is given up, or, where nobody could even try, some time later."""
    is_untold = select(NoticeRow.id).where(NoticeRow.job == JobRow.id, NoticeRow.settled.is_(None)).exists()
    is_over = or_(~is_untold, JobRow.expires <= now - _LONGEST_UNTOLD)
    values = {"removing": True, "idempotency_key": None}
    updated(session, and_(JobRow.expires <= now, ~JobRow.removing, is_over), values)


def marked(session: Session) -> Sequence[str]:
    """The jobs that are marked as deleted."""
    return session.scalars(select(JobRow.id).where(JobRow.removing)).all()


def erase(session: Session, job_ids: Collection[str]) -> int:
    """Delete the rows of jobs that were marked, and all that belongs to them; returns how many there were."""
    gone = delete(JobRow).where(JobRow.id.in_(job_ids), JobRow.removing).returning(JobRow.id)
    return len(session.scalars(gone, execution_options={"synchronize_session": False}).all())


def states(session: Session, job_ids: Collection[str]) -> dict[str, str]:
    """The states of those of these jobs that there are."""
    found = session.execute(select(JobRow.id, JobRow.state).where(JobRow.id.in_(job_ids)))
    return {job_id: state for job_id, state in found}  # noqa: C416 - a row is no pair to pyright


def is_any_running(session: Session, now: float) -> bool:
    """Whether somebody works on a job."""
    return session.scalar(select(JobRow.id).where(running(now)).limit(1)) is not None


def _end(state: State, now: float, kept_for: float) -> dict[str, object]:
    return {"state": state, "ended": now, "expires": now + kept_for, "step": None, "waits_for": "", **FREE}


def _forget_work(session: Session, job_id: str) -> None:
    for table in (PieceRow, PlanRow, VoicesRow):
        session.execute(delete(table).where(table.job == job_id), execution_options={"synchronize_session": False})
